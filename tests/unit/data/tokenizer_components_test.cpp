// SPDX-License-Identifier: Apache-2.0
/// Small tokenizers, one per component and flag, against Hugging Face tokenizers; small sentencepiece models against
/// the sentencepiece library. Expected ids: tests/oracle/make_tokenizer_components.py, make_sentencepiece_models.py.
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "data/tokenizer.hpp"
#include "data/tokenizers/sentencepiece_proto.hpp"
#include "data_vectors.hpp"

namespace dstrain::test {
namespace {

using Ids = std::vector<std::int32_t>;
using Json = nlohmann::json;

const std::filesystem::path folder = std::filesystem::path(DSTRAIN_SOURCE_DIR) / "tests" / "unit" / "data";

TEST(TokenizerComponents, GiveTheReferenceIdsAndTexts) {
  const Json file = Json::parse(read_text(folder / "tokenizer_components.json"));
  const auto texts = file["texts"].get<std::vector<std::string>>();
  ASSERT_GT(file["cases"].size(), 100U);

  for (const auto& c : file["cases"]) {
    SCOPED_TRACE(c["name"].get<std::string>());
    Json json = c["tokenizer"];
    json["model"] = file["models"][c["model"].get<std::string>()];
    const Tokenizer tokenizer = load_tokenizer({{"tokenizer.json", json.dump()}});
    const Json& with_special = c["ids_special"].is_null() ? c["ids"] : c["ids_special"];
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (c["ids"][i].is_null()) continue;  // the reference itself failed on this text
      const auto special = with_special[i].get<Ids>();

      EXPECT_EQ(tokenizer.encode(texts[i]), c["ids"][i].get<Ids>()) << texts[i];
      EXPECT_EQ(tokenizer.encode(texts[i], true), special) << texts[i];
      if (c["decoded"].is_null()) continue;
      EXPECT_EQ(tokenizer.decode(special), c["decoded"][i].get<std::string>()) << texts[i];
      if (c["decoded_without_special"].is_null()) continue;
      EXPECT_EQ(tokenizer.decode(special, true), c["decoded_without_special"][i].get<std::string>()) << texts[i];
    }
  }
}

TEST(SentencePiece, GivesTheLibrarysIdsAndTexts) {
  const Json file = Json::parse(read_text(folder / "sentencepiece" / "expected.json"));
  const auto texts = file["texts"].get<std::vector<std::string>>();
  ASSERT_GE(file["models"].size(), 7U);

  for (const auto& [name, expected] : file["models"].items()) {
    SCOPED_TRACE(name);
    const Tokenizer tokenizer =
        load_tokenizer({{"tokenizer.model", read_text(folder / "sentencepiece" / (name + ".model"))}});
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto ids = expected["ids"][i].get<Ids>();
      EXPECT_EQ(tokenizer.encode(texts[i]), ids) << texts[i];
      EXPECT_EQ(tokenizer.decode(ids), expected["decoded"][i].get<std::string>()) << texts[i];
    }
  }
}

// LlamaTokenizer with legacy false: one leading blank for the whole text, none behind a special token.
TEST(SentencePiece, NotLegacyPutsOneBlankInFront) {
  const Json file = Json::parse(read_text(folder / "sentencepiece" / "expected.json"));
  const auto texts = file["texts"].get<std::vector<std::string>>();
  const Tokenizer tokenizer =
      load_tokenizer({{"tokenizer.model", read_text(folder / "sentencepiece" / "bpe_llama.model")},
                      {"tokenizer_config.json", R"({"tokenizer_class": "LlamaTokenizer", "legacy": false})"}});

  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(tokenizer.encode(texts[i]), file["models"]["bpe_llama"]["not_legacy"][i].get<Ids>()) << texts[i];
  }
}

/// A model in protobuf's wire format: pieces, and further fields as bytes.
std::string model_bytes(const std::vector<SentencePieceProto::Piece>& pieces, const std::string& rest = {}) {
  std::string out;
  for (const auto& piece : pieces) {
    std::string message = "\x0A" + std::string(1, static_cast<char>(piece.text.size())) + piece.text;
    message += "\x15" + std::string(reinterpret_cast<const char*>(&piece.score), sizeof piece.score);
    message += "\x18" + std::string(1, static_cast<char>(piece.type));
    out += "\x0A" + std::string(1, static_cast<char>(message.size())) + message;
  }
  return out + rest;
}

TEST(SentencePiece, RefusesModelsThatAreNone) {
  using Type = SentencePieceProto::Type;
  const SentencePieceProto::Piece unknown{"<unk>", 0, Type::unknown};
  const auto refused = [](const std::string& bytes) {
    EXPECT_THROW(parse_sentencepiece(bytes, "tokenizer.model"), ConfigError)
        << Json(bytes).dump(-1, ' ', true, Json::error_handler_t::replace);
  };

  EXPECT_EQ(parse_sentencepiece(model_bytes({unknown, {"a", -1}}), "").pieces.size(), 2U);
  refused("");
  refused(model_bytes({{"a", -1}}));                           // no unknown piece
  refused(model_bytes({unknown, {"a", -1}, {"a", -2}}));       // twice
  refused(model_bytes({unknown, {"", -1}}));                   // empty
  refused(model_bytes({unknown, {"\xFF", -1}}));               // not UTF-8
  refused(model_bytes({unknown, {"<0x41>", 0, Type::byte}}));  // a byte piece without byte_fallback
  refused(model_bytes({unknown, {"a", std::numeric_limits<float>::quiet_NaN()}}));
  refused(model_bytes({unknown}, "\x12\x05\x18\x02"));                   // a message longer than the file
  refused(model_bytes({unknown}, std::string("\x12\x03\x98\x02\x01")));  // byte_fallback without byte pieces
  EXPECT_THROW(load_tokenizer({{"tokenizer.model", model_bytes({unknown}, "\x1A\x04\x12\x02zz")}}),
               ConfigError);  // a charsmap that is none
}

// sentencepiece merges any two neighbours that are a piece together, whether or not each is one by itself.
TEST(SentencePiece, MergesCharactersThatAreNoPieces) {
  using Type = SentencePieceProto::Type;
  const std::string bpe = "\x12\x02\x18\x02";
  const std::string plain("\x1A\x06\x18\x00\x20\x00\x28\x00", 8);  // no dummy prefix, blanks kept as they are
  const auto pieces = model_bytes({{"<unk>", 0, Type::unknown}, {"a", -1}, {"ax", -2}, {"axyz", -3}, {"yz", -4}});
  const Tokenizer tokenizer = load_tokenizer({{"tokenizer.model", pieces + bpe + plain}});

  EXPECT_EQ(tokenizer.encode("ax"), (Ids{2}));
  EXPECT_EQ(tokenizer.encode("axyz"), (Ids{3}));
  EXPECT_EQ(tokenizer.encode("yza"), (Ids{4, 1}));
  EXPECT_EQ(tokenizer.encode("xa"), (Ids{0, 1}));
  EXPECT_EQ(tokenizer.encode("axxqa"), (Ids{2, 0, 1}));  // neighbours that are unknown are one
}

TEST(Tiktoken, ReadsRanksAndKnowsItsFamilies) {
  // a, b, ab, blank: "ab" merges, and the end token of Qwen lies where it always lies.
  const std::string file = "YQ== 0\nYg== 1\nYWI= 2\nIA== 3\n";
  const Tokenizer tokenizer = load_tokenizer({{"qwen.tiktoken", file}});

  EXPECT_EQ(tokenizer.encode("abb a"), (Ids{2, 1, 3, 0}));
  EXPECT_EQ(tokenizer.encode("ab<|im_end|>"), (Ids{2, 151645}));
  EXPECT_EQ(tokenizer.decode(Ids{2, 3, 1}), "ab b");
  EXPECT_THROW(load_tokenizer({{"other.tiktoken", file}}), ConfigError);
  EXPECT_THROW(load_tokenizer({{"qwen.tiktoken", "YQ== 0\nYg==\n"}}), ConfigError);
  EXPECT_THROW(load_tokenizer({{"qwen.tiktoken", "YQ== 0\nY!== 1\n"}}), ConfigError);
  EXPECT_THROW(load_tokenizer({{"qwen.tiktoken", "YQ== 0\nYg== 0\n"}}), ConfigError);
}

TEST(VocabAndMerges, ReadsBothKinds) {
  const TokenizerFiles files = {
      {"vocab.json", R"({"a": 0, "b": 1, "ab": 2, "1": 3, "11": 4, "e": 5, "Ã©": 6, "Ã": 7, "©": 8, "Ì": 9, "ģ": 10})"},
      {"merges.txt", "#version: 0.2\na b\n1 1\nÃ ©\n"}};
  auto qwen_files = files;
  qwen_files["tokenizer_config.json"] = R"({"tokenizer_class": "Qwen2Tokenizer"})";
  const Tokenizer gpt2 = load_tokenizer(files);
  const Tokenizer qwen = load_tokenizer(qwen_files);

  EXPECT_EQ(gpt2.encode("ab11"), (Ids{2, 4}));
  EXPECT_EQ(qwen.encode("ab11"), (Ids{2, 3, 3}));      // each digit by itself
  EXPECT_EQ(gpt2.encode("e\u0301"), (Ids{5, 9, 10}));  // as it is
  EXPECT_EQ(qwen.encode("e\u0301"), (Ids{6}));         // composed first
  EXPECT_EQ(qwen.eos_token(), "<|endoftext|>");
  EXPECT_EQ(qwen.encode("a<|endoftext|>"), (Ids{0, 11}));
  auto damaged = files;
  damaged["merges.txt"] = "a b c\n";
  EXPECT_THROW(load_tokenizer(damaged), ConfigError);
}

// ChatGLM2's class has five tokens behind the model's; ChatGLM3's, under the same name, four more.
TEST(SentencePiece, ChatGlmAddsItsOwnTokens) {
  const std::string model = read_text(folder / "sentencepiece" / "bpe_llama.model");
  const std::string config = R"({"tokenizer_class": "ChatGLMTokenizer"})";
  const Tokenizer two = load_tokenizer({{"tokenizer.model", model}, {"tokenizer_config.json", config}});
  const Tokenizer three = load_tokenizer(
      {{"tokenizer.model", model}, {"tokenizer_config.json", config}, {"tokenization_chatglm.py", "\"<|user|>\""}});
  const auto own = parse_sentencepiece(model, "").pieces.size();

  EXPECT_EQ(two.vocab_size(), static_cast<int>(own) + 5);
  EXPECT_EQ(three.vocab_size(), static_cast<int>(own) + 9);
  EXPECT_EQ(two.token_to_id("[gMASK]"), static_cast<int>(own) + 1);
  EXPECT_EQ(three.token_to_id("<|user|>"), static_cast<int>(own) + 6);
  const auto ids = two.encode("hello", true);
  EXPECT_EQ((Ids{ids[0], ids[1]}), (Ids{two.token_to_id("[gMASK]").value(), two.token_to_id("sop").value()}));
  EXPECT_EQ(two.pad_token(), "<unk>");
}

}  // namespace
}  // namespace dstrain::test
