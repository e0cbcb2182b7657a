// SPDX-License-Identifier: Apache-2.0
/// add_tokens, group_by_length and data_split against the programs they come from (tests/oracle/make_data_keys.py).
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/error.hpp"
#include "data/data_split.hpp"
#include "data/sampler.hpp"
#include "data/tokenizer.hpp"
#include "data/tokenizers/saved_tokens.hpp"

namespace dstrain::test {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<std::int32_t>;
using Rows = std::vector<std::uint32_t>;

Json oracle(const char* part) {
  return Json::parse(std::ifstream(std::string(DSTRAIN_SOURCE_DIR) + "/tests/oracle/data_keys.json"))[part];
}

TokenizerOptions options_of(const Json& expected) {
  TokenizerOptions options;
  options.add_tokens = expected["add_tokens"].get<std::vector<std::string>>();
  options.add_special_tokens = expected["add_special_tokens"].get<std::vector<std::string>>();
  return options;
}

void expect_encoded(const Tokenizer& tokenizer, const Json& expected) {
  EXPECT_EQ(tokenizer.vocab_size(), expected["len"].get<std::int32_t>());
  for (const auto& entry : expected["encoded"])
    EXPECT_EQ(tokenizer.encode(entry["text"].get<std::string>()), entry["ids"].get<Ids>()) << entry["text"];
}

TEST(AddedTokenKeys, MakeTransformersTokenizer) {
  const Json expected = oracle("added_tokens");
  const TokenizerFiles files{{"tokenizer.json", expected["tokenizer"].dump()}};
  auto tokenizer = load_tokenizer(files);
  const auto options = options_of(expected);

  EXPECT_EQ(tokenizer.add_tokens(options.add_tokens, false), expected["counts"][0].get<int>());
  EXPECT_EQ(tokenizer.add_tokens(options.add_special_tokens, true), expected["counts"][1].get<int>());

  expect_encoded(tokenizer, expected);
  expect_encoded(load_tokenizer(files, options), expected);
}

// What is written is read again, here and by tokenizers: the same entries as save_pretrained's.
TEST(AddedTokenKeys, AreSavedWithTheTokenizer) {
  const Json expected = oracle("added_tokens");
  TokenizerFiles files{{"tokenizer.json", expected["tokenizer"].dump(2)}};
  const auto tokenizer = load_tokenizer(files, options_of(expected));

  add_saved_tokens(files, tokenizer.changed_tokens());

  Json saved = Json::parse(files.at("tokenizer.json"))["added_tokens"];
  std::sort(saved.begin(), saved.end(), [](const Json& a, const Json& b) { return a["id"] < b["id"]; });
  EXPECT_EQ(saved, expected["saved"]);
  EXPECT_EQ(Json::parse(files.at("tokenizer.json"))["model"], expected["tokenizer"]["model"]);
  const Json decoder = Json::parse(files.at("tokenizer_config.json"))["added_tokens_decoder"];
  EXPECT_EQ(decoder["10"]["content"], "<S>");
  EXPECT_EQ(decoder["10"]["special"], true);
  const auto again = load_tokenizer(files);
  expect_encoded(again, expected);
  TokenizerFiles twice = files;
  add_saved_tokens(twice, load_tokenizer(files, options_of(expected)).changed_tokens());
  EXPECT_EQ(twice.at("tokenizer.json"), files.at("tokenizer.json"));
}

// An object without the list gets one; text in strings that looks like the key is no key.
TEST(AddedTokenKeys, FindTheirPlaceInTheFile) {
  const AddedToken token{.content = "<n>\"", .id = 3, .special = true};
  TokenizerFiles files{{"tokenizer.json", R"({"x": "\"added_tokens\": [", "y": {"added_tokens": [1]}, "z": 2})"}};

  add_saved_tokens(files, {&token, 1});

  const Json file = Json::parse(files.at("tokenizer.json"));
  ASSERT_EQ(file["added_tokens"].size(), 1U);
  EXPECT_EQ(file["added_tokens"][0]["content"], "<n>\"");
  EXPECT_EQ(file["y"]["added_tokens"], Json({1}));
}

TEST(GroupByLength, IsTransformersOrder) {
  for (const auto& c : oracle("grouped")) {
    BatchPlanOptions options{.rows = c["rows"],
                             .per_device_train_batch_size = c["batch"],
                             .gradient_accumulation_steps = c["accumulation"],
                             .seed = c["seed"]};
    Rows order(static_cast<std::size_t>(options.rows));

    epoch_order(options, 0, order);
    group_by_length(options, order,
                    [](std::uint32_t i) { return (std::int64_t{37} * i * i + std::int64_t{11} * i) % 23 + 1; });

    EXPECT_EQ(order, c["order"].get<Rows>()) << c["rows"] << " rows";
  }
}

TEST(DataSplit, TakesTheRowsOfDeepSpeedChat) {
  for (const auto& c : oracle("first_share")) {
    const auto split = parse_data_split(c["split"].get<std::string>());
    EXPECT_EQ(first_share(split.front(), c["rows"], c["seed"]), c["taken"].get<Rows>()) << c["split"] << c["rows"];
  }
}

TEST(DataSplit, BlendsDatasetsAsDeepSpeedChat) {
  for (const auto& c : oracle("blended")) {
    const auto rows =
        blend_first_shares(parse_data_split(c["split"].get<std::string>()), c["rows"].get<Rows>(), c["seed"]);
    std::vector<Rows> pairs;
    for (const MixedRow& row : rows) pairs.push_back({row.dataset, row.row});
    EXPECT_EQ(pairs, c["taken"].get<std::vector<Rows>>()) << c["split"];
  }
}

TEST(DataSplit, RefusesWhatIsNoList) {
  for (const char* text : {"", "a", "1,-2", "0,0", "1,,2", "1|x", "1e999", "|"})
    EXPECT_THROW((void)parse_data_split(text), ConfigError) << text;
}

}  // namespace
}  // namespace dstrain::test
