// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"
#include "data/tokenizers/regex_dialect.hpp"
#include "data/tokenizers/byte_level.hpp"
#include "data_vectors.hpp"

namespace dstrain::test {
namespace {

using Ids = std::vector<std::int32_t>;

/// A sentencepiece-style tokenizer.json small enough to follow by hand.
nlohmann::json small_file() {
  return {
      {"added_tokens",
       {{{"id", 0}, {"content", "<unk>"}, {"special", true}, {"normalized", false}},
        {{"id", 8}, {"content", "<m>"}, {"special", true}, {"normalized", false}, {"lstrip", true}, {"rstrip", true}},
        {{"id", 9}, {"content", "word"}, {"special", false}, {"normalized", false}, {"single_word", true}}}},
      {"normalizer", {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "_"}}},
      {"pre_tokenizer", nullptr},
      {"decoder", {{"type", "Sequence"}, {"decoders", {{{"type", "ByteFallback"}}, {{"type", "Fuse"}}}}}},
      {"model",
       {{"type", "BPE"},
        {"unk_token", "<unk>"},
        {"fuse_unk", true},
        {"vocab", {{"<unk>", 0}, {"a", 1}, {"b", 2}, {"_", 3}, {"ab", 4}, {"aba", 5}, {"ba", 6}, {"__", 7}}},
        {"merges", {{"a", "b"}, "b a", {"ab", "a"}, {"_", "_"}}}}}};
}

Tokenizer small_tokenizer(const nlohmann::json& file = small_file()) {
  return load_tokenizer({{"tokenizer.json", file.dump()}});
}

// "ab" (rank 0) wins over "ba" (rank 1) and the leftmost of two equals goes first.
TEST(Tokenizer, MergesLowestRankFirstThenLeftmost) {
  const auto tokenizer = small_tokenizer();

  EXPECT_EQ(tokenizer.encode("aba"), (Ids{5}));
  EXPECT_EQ(tokenizer.encode("bab"), (Ids{2, 4}));
  EXPECT_EQ(tokenizer.encode("a   b"), (Ids{1, 7, 3, 2}));
}

// The heap for long pieces and the scan for short ones are the same function: a long text is its short parts where no
// merge crosses the seams.
TEST(Tokenizer, LongPiecesMergeLikeShortOnes) {
  const auto tokenizer = small_tokenizer();
  std::string text;
  Ids expected;
  for (int i = 0; i < 40; ++i) {
    text += "baba ";
    const auto part = tokenizer.encode("baba ");
    expected.insert(expected.end(), part.begin(), part.end());
  }

  EXPECT_EQ(tokenizer.encode(text), expected);
}

// A text is cut before a blank only where no merge crosses: here "b" before the blank may merge with it, "a" may not.
TEST(Tokenizer, CutsBetweenWordsDoNotHideMerges) {
  const std::string mark = "\xE2\x96\x81";
  auto file = small_file();
  file["normalizer"]["content"] = mark;
  auto& model = file["model"];
  model["vocab"] = {{"<unk>", 0},         {"a", 1}, {"b", 2}, {mark, 3}, {"b" + mark, 4}, {mark + "a", 5},
                    {"b" + mark + "a", 6}};
  model["merges"] = nlohmann::json::array();
  for (const auto& [left, right] : {std::pair{mark, std::string("a")}, {"b", mark}, {"b", mark + "a"}}) {
    model["merges"].push_back(nlohmann::json::array({left, right}));
  }
  const auto tokenizer = small_tokenizer(file);

  EXPECT_EQ(tokenizer.encode("b a"), (Ids{6}));
  EXPECT_EQ(tokenizer.encode("a a"), (Ids{1, 5}));
  EXPECT_EQ(tokenizer.encode("b b"), (Ids{4, 2}));
  EXPECT_EQ(tokenizer.encode("a b a"), (Ids{1, 3, 6}));
}

TEST(Tokenizer, UnknownCharactersFuse) {
  EXPECT_EQ(small_tokenizer().encode("aééb"), (Ids{1, 0, 2}));
  auto file = small_file();
  file["model"]["fuse_unk"] = false;
  EXPECT_EQ(small_tokenizer(file).encode("aééb"), (Ids{1, 0, 0, 2}));
}

TEST(Tokenizer, AddedTokensTakeWhiteSpaceAndWordBoundariesAsTheySay) {
  const auto tokenizer = small_tokenizer();

  EXPECT_EQ(tokenizer.encode("a  <m>  b"), (Ids{1, 8, 2}));
  EXPECT_EQ(tokenizer.encode("word"), (Ids{9}));
  EXPECT_EQ(tokenizer.encode("words"), (Ids{0}));
  EXPECT_EQ(tokenizer.decode(Ids{1, 8, 2}), "a<m>b");
  EXPECT_EQ(tokenizer.decode(Ids{1, 8, 2}, true), "ab");
}

TEST(Tokenizer, SplitSpecialTokensLeavesThemAsText) {
  auto tokenizer = small_tokenizer();
  tokenizer.set_split_special_tokens(true);

  EXPECT_EQ(tokenizer.encode("<m>"), (Ids{0}));
}

TEST(Tokenizer, NewSpecialTokensGetTheNextIds) {
  auto tokenizer = small_tokenizer();
  const std::vector<std::string> tokens = {"<end>", "aba"};

  EXPECT_EQ(tokenizer.add_special_tokens(tokens), 1);

  EXPECT_EQ(tokenizer.token_to_id("<end>"), 10);
  EXPECT_EQ(tokenizer.token_to_id("aba"), 5);
  EXPECT_EQ(tokenizer.vocab_size(), 11);
  EXPECT_EQ(tokenizer.encode("aba<end>"), (Ids{5, 10}));
}

TEST(Tokenizer, IllFormedUtf8BecomesTheReplacementCharacter) {
  auto file = small_file();
  file["model"]["vocab"]["\xEF\xBF\xBD"] = 10;

  EXPECT_EQ(small_tokenizer(file).encode("a\xFF"
                                         "b"),
            (Ids{1, 10, 2}));
}

TEST(Tokenizer, NamesWhatItDoesNotSupport) {
  auto file = small_file();
  file["model"]["type"] = "Morfessor";
  try {
    small_tokenizer(file);
    FAIL() << "a model of an unknown kind was taken";
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("\"Morfessor\""), std::string::npos);
    EXPECT_EQ(e.where(), "tokenizer.json");
  }
}

// Whatever is wrong with a file ends in an error with a message, never in a crash or a wrong tokenizer.
TEST(Tokenizer, RefusesDamagedFiles) {
  EXPECT_THROW(load_tokenizer({}), ConfigError);
  EXPECT_THROW(load_tokenizer({{"tokenizer.json", "{"}}), ConfigError);
  EXPECT_THROW(load_tokenizer({{"tokenizer.json", "[]"}}), ConfigError);
  EXPECT_THROW(load_tokenizer({{"tokenizer.model", "not a model"}}), ConfigError);
  for (const auto& [pointer, value] : std::initializer_list<std::pair<const char*, nlohmann::json>>{
           {"/model/vocab/a", -1},
           {"/model/vocab/a", 1LL << 40},
           {"/model/vocab/a", 2},
           {"/model/vocab/a", "x"},
           {"/model/merges/0", "ab"},
           {"/model/merges/0", nlohmann::json::array({"a", "z"})},
           {"/model/unk_token", "missing"},
           {"/model/dropout_not_read/x", 1},
           {"/added_tokens/0/id", -5},
           {"/pre_tokenizer", {{"type", "Split"}, {"pattern", {{"Regex", "("}}}, {"behavior", "Isolated"}}},
           {"/pre_tokenizer", {{"type", "Jieba"}}},
           {"/model/dropout", 0.1},
           {"/decoder", {{"type", "Morse"}}}}) {
    auto file = small_file();
    file[nlohmann::json::json_pointer(pointer)] = value;
    if (std::string(pointer).find("not_read") != std::string::npos) {
      EXPECT_NO_THROW(small_tokenizer(file));
    } else {
      EXPECT_THROW(small_tokenizer(file), ConfigError) << pointer << ' ' << value;
    }
  }
}

// "[:" that no ":]" ends is a class in a class: refused like any others that are nested without end.
TEST(Patterns, NestedWithoutEndAreRefused) {
  for (const char* opening : {"[", "[:", "[a&&["}) {
    std::string pattern;
    while (pattern.size() < 60'000) pattern += opening;
    try {
      (void)to_pcre2(pattern, "here");
      ADD_FAILURE() << opening;
    } catch (const ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find("nested too deeply"), std::string::npos) << opening;
    }
  }
}

TEST(ByteLevelAlphabet, IsItsOwnInverse) {
  for (int b = 0; b < 256; ++b) EXPECT_EQ(byte_level_byte(byte_level_character(static_cast<unsigned char>(b))), b);
  EXPECT_EQ(byte_level_byte(U'\u4E00'), -1);
  EXPECT_EQ(byte_level_byte(U' '), -1);
}

}  // namespace
}  // namespace dstrain::test
