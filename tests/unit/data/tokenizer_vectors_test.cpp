// SPDX-License-Identifier: Apache-2.0
/// Tokenizers against what transformers and the sentencepiece library gave for the same texts.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "data/tokenizer.hpp"
#include "data/tokenizers/byte_level.hpp"
#include "data_vectors.hpp"

namespace dstrain::test {
namespace {

struct VectorFile {
  const char* vectors;  ///< tokenizer-vectors/<vectors>.jsonl
  const char* tokenizer;
  bool fast;
};

class TokenizerVectors : public testing::TestWithParam<VectorFile> {};

// Every id, with and without special tokens, and the way back.
TEST_P(TokenizerVectors, IdsAndDecodedTextAreTheReferenceOnes) {
  const auto data = unpacked_data();
  if (!data) GTEST_SKIP() << "skipped: no ../shared";
  const auto [vectors, name, fast] = GetParam();
  // The .sp vectors come from the bare library: no configuration, special tokens are text.
  const Tokenizer tokenizer = fast ? vector_tokenizer(*data, name) : bare_sentencepiece(*data, name);
  std::ifstream file(*data / "tokenizer-vectors" / (std::string(vectors) + ".jsonl"));

  int count = 0;
  for (std::string line; std::getline(file, line); ++count) {
    const auto record = nlohmann::json::parse(line);
    const auto text = record["text"].get<std::string>();
    const auto ids = record["ids"].get<std::vector<std::int32_t>>();

    EXPECT_EQ(tokenizer.encode(text), ids) << record["id"] << ' ' << text;
    if (record.contains("ids_special")) {
      EXPECT_EQ(tokenizer.encode(text, true), record["ids_special"].get<std::vector<std::int32_t>>()) << text;
    }
    if (record.contains("decoded")) {
      EXPECT_EQ(tokenizer.decode(ids), record["decoded"].get<std::string>()) << record["id"];
    }
  }
  EXPECT_EQ(count, 156);
}

INSTANTIATE_TEST_SUITE_P(
    Files, TokenizerVectors,
    testing::Values(VectorFile{"stories260K", "stories260K", true}, VectorFile{"llama2", "llama2", true},
                    VectorFile{"llama3", "llama3", true}, VectorFile{"gpt2", "gpt2", true},
                    VectorFile{"mistral-v1", "mistral-v1", true}, VectorFile{"mistral-v3", "mistral-v3", true},
                    VectorFile{"qwen2", "qwen2", true}, VectorFile{"qwen3", "qwen3", true},
                    VectorFile{"stories260K.sp", "stories260K", false}, VectorFile{"llama2.sp", "llama2", false},
                    VectorFile{"mistral-v1.sp", "mistral-v1", false}, VectorFile{"mistral-v3.sp", "mistral-v3", false},
                    VectorFile{"chatglm2.sp", "chatglm2", false}, VectorFile{"baichuan-m1.sp", "baichuan-m1", false}),
    [](const auto& info) {
      std::string name = info.param.vectors;
      for (char& c : name) {
        if (c == '.' || c == '-') c = '_';
      }
      return name;
    });

void expect_vectors(const std::filesystem::path& data, const std::string& vectors, const Tokenizer& tokenizer) {
  std::ifstream file(data / "tokenizer-vectors" / (vectors + ".jsonl"));
  int count = 0;
  for (std::string line; std::getline(file, line); ++count) {
    const auto record = nlohmann::json::parse(line);
    const auto ids = record["ids"].get<std::vector<std::int32_t>>();
    EXPECT_EQ(tokenizer.encode(record["text"].get<std::string>()), ids) << record["id"];
    EXPECT_EQ(tokenizer.decode(ids), record["decoded"].get<std::string>()) << record["id"];
  }
  EXPECT_EQ(count, 156);
}

/// The ranks of a byte-level tokenizer.json as a tiktoken file.
std::string as_tiktoken(const std::string& tokenizer_json) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  const auto root = nlohmann::json::parse(tokenizer_json);
  for (const auto& [token, id] : root["model"]["vocab"].items()) {
    const std::string bytes = byte_level_bytes(token).value();
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
      const auto byte = [&](std::size_t k) {
        return k < bytes.size() ? static_cast<unsigned>(static_cast<unsigned char>(bytes[k])) : 0U;
      };
      const unsigned three = byte(i) << 16U | byte(i + 1) << 8U | byte(i + 2);
      for (unsigned k = 0; k < 4; ++k) {
        out += i + k <= bytes.size() ? digits[three >> (18U - 6U * k) & 63U] : '=';
      }
    }
    out += ' ' + id.dump() + '\n';
  }
  return out;
}

// The same tokenizers in their other forms.
TEST(TokenizerForms, TiktokenAndMergesGiveTheReferenceIds) {
  const auto data = unpacked_data();
  if (!data) GTEST_SKIP() << "skipped: no ../shared";
  auto gpt2 = vector_tokenizer_files(*data, "gpt2");
  gpt2.erase("tokenizer.json");
  const TokenizerFiles& qwen2 = vector_tokenizer_files(*data, "qwen2");

  expect_vectors(*data, "gpt2", load_tokenizer(gpt2));
  expect_vectors(*data, "llama3",
                 load_tokenizer(vector_tokenizer_files(*data, "llama3"), {.use_fast_tokenizer = false}));
  expect_vectors(*data, "qwen2", load_tokenizer({{"qwen.tiktoken", as_tiktoken(qwen2.at("tokenizer.json"))}}));
}

// A sentencepiece model by itself is the library: the special tokens in a text are text.
TEST(TokenizerForms, AModelWithoutConfigurationIsTheBareLibrary) {
  const auto data = unpacked_data();
  if (!data) GTEST_SKIP() << "skipped: no ../shared";
  const TokenizerFiles& files = vector_tokenizer_files(*data, "llama2");

  expect_vectors(*data, "llama2.sp", load_tokenizer({{"tokenizer.model", files.at("tokenizer.model")}}));
}

}  // namespace
}  // namespace dstrain::test
