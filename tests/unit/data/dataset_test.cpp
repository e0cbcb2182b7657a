// SPDX-License-Identifier: Apache-2.0
/// Dataset files, formats, encoding and the token cache on small made-up data.
#include "data/dataset.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "core/error.hpp"
#include "data/token_store.hpp"
#include "dataset_fixture.hpp"

namespace dstrain::test {
namespace {

TEST_F(DatasetTest, ReadsAlpacaWithHistoryAndSystem) {
  describe(
      R"({"file_name": "d.json", "columns": {"prompt": "q", "query": "i", "response": "a", "history": "h", "system": "s"}})");
  write("d.json",
        R"([{"q": "Q", "i": "I", "a": "A", "h": [["x", "y"]], "s": "S"}, {"q": "R", "a": ""}, {"q": "no answer"}])");

  EXPECT_EQ(texts(), "SxyQ\nIA|R|");
}

TEST_F(DatasetTest, ReadsShareGptAndSkipsRolesOutOfOrder) {
  describe(R"({"file_name": "d.jsonl", "formatting": "sharegpt"})");
  write(
      "d.jsonl",
      R"({"conversations": [{"from": "system", "value": "S"}, {"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]})"
      "\n\n"
      R"({"conversations": [{"from": "gpt", "value": "A"}, {"from": "human", "value": "Q"}]})"
      "\n"
      R"({"conversations": [{"from": "human", "value": "odd"}]})");

  EXPECT_EQ(texts(), "SQA|");
}

TEST_F(DatasetTest, ReadsCsvAndTxt) {
  describe(R"({"file_name": "d.csv"})");
  write("d.csv", "instruction,output\r\n\"a \"\"b\"\", c\",d\r\n\"two\nlines\",e\n");
  EXPECT_EQ(texts(), "a\"b\",cd|two\nlinese|");

  describe(R"({"file_name": "d.txt", "columns": {"prompt": "text"}})");
  write("d.txt", "one\ntwo\r\n\nlast");
  options.encode.stage = Stage::pt;
  EXPECT_EQ(texts(), "one\x03|two\x03|\x03|last\x03|");
}

TEST_F(DatasetTest, TakesTheFirstRowsOfEachDatasetInOrder) {
  write("dataset_info.json", R"({"d": {"file_name": "d.json"}, "e": {"file_name": "e.json"}})");
  write("d.json", R"([{"instruction": "1", "output": "1"}, {"instruction": "2", "output": "2"}])");
  write("e.json", R"([{"instruction": "3", "output": "3"}, {"instruction": "4", "output": "4"}])");
  options.dataset = {"e", "d"};
  options.max_samples = 1;

  EXPECT_EQ(texts(), "33|11|");
}

TEST_F(DatasetTest, KeepsRowsForValidation) {
  write("dataset_info.json",
        R"({"d": {"file_name": "d.json"}, "e": {"file_name": "e.json"}, "f": {"file_name": "f.json"}})");
  std::string rows;
  for (char c = 'a'; c < 'k'; ++c) {
    rows += fmt::format(R"({}{{"instruction": "{}", "output": "{}"}})", rows.empty() ? "[" : ",", c, c);
  }
  write("d.json", rows + "]");
  write("e.json", R"([{"instruction": "1", "output": "1"}])");
  write("f.json", R"([{"instruction": "2", "output": "2"}])");
  const auto eval_texts = [&] {
    std::string out;
    std::vector<std::int32_t> scratch;
    const auto dataset = open_dataset(options, character_tokenizer());
    std::vector<std::string> names;
    for (const auto& [name, source] : dataset.eval_rows) {
      names.push_back(name);
      out += name + ":";
      for (std::int64_t i = 0; i < source->info().rows; ++i) {
        out += render_row(source->row(i, scratch), dataset.tokenizer).text + "|";
      }
    }
    EXPECT_EQ(names, eval_source_names(options));
    return out;
  };

  options.val_size = 0.25;  // numpy's default_rng(42).permutation(10): 5 6 0 7 3 2 4 9 1 8
  EXPECT_EQ(texts(), "hh|dd|cc|ee|jj|bb|ii|");
  EXPECT_EQ(eval_texts(), ":f f|g g|a a|");
  options.val_size = 0.0;
  options.eval_dataset = {"f", "e"};
  EXPECT_EQ(eval_texts(), ":2 2|1 1|");
  options.eval_on_each_dataset = true;
  EXPECT_EQ(eval_texts(), "f:2 2|e:1 1|");
  options.dataset.clear();
  EXPECT_EQ(open_dataset(options, character_tokenizer()).rows, nullptr);
}

TEST_F(DatasetTest, SaysWhatIsWrongAndWhere) {
  EXPECT_NE(problem().find("Cannot open"), std::string::npos);
  describe(R"({"file_name": "d.jsonl"})");
  EXPECT_NE(problem().find("File d.jsonl not found."), std::string::npos);
  write("d.jsonl", "{\"instruction\": \"a\", \"output\": \"b\"}\n{\"instruction\": 3}\n");
  EXPECT_NE(problem().find("column \"instruction\" is not a string @ " + (dir / "d.jsonl").string() + ":2"),
            std::string::npos);
  write("d.jsonl", "{\"instruction\": \"a\"}\n\n{oops\n");
  EXPECT_NE(problem().find("d.jsonl:3"), std::string::npos);
  write("d.jsonl", "{\"instruction\": \"no answer\"}\n");
  EXPECT_NE(problem().find("Cannot find valid samples"), std::string::npos);
  describe(R"({"file_name": "d.json"})");
  write("d.json", "[\n {\"instruction\": \"a\", \"output\": \"b\"},\n {\"instruction\": [\"{\", 1]}\n]");
  EXPECT_NE(problem().find("d.json:3"), std::string::npos);
  write("d.json", "[\n {\"instruction\": \"a\",\n  \"output\" \"b\"}]");
  EXPECT_NE(problem().find("d.json:3"), std::string::npos);
  describe(R"({"hf_hub_url": "x/y"})");
  EXPECT_NE(problem().find("dataset d is remote (hf_hub_url)"), std::string::npos);
  describe(R"({"file_name": "d.json", "formatting": "chatml"})");
  EXPECT_NE(problem().find("Dataset converter chatml not found."), std::string::npos);
  describe(R"({"file_name": "d.json", "ranking": true})");
  EXPECT_NE(problem().find("not applicable in the current training stage"), std::string::npos);
  options.dataset = {"e"};
  EXPECT_NE(problem().find("Undefined dataset e in dataset_info.json."), std::string::npos);
  options.template_name = "lama3";
  EXPECT_NE(problem().find("Template lama3 does not exist."), std::string::npos);
}

class CacheTest : public DatasetTest {
 protected:
  void SetUp() override {
    DatasetTest::SetUp();
    describe(R"({"file_name": "d.json"})");
    write("d.json", R"([{"instruction": "ab", "output": "c"}, {"instruction": "d", "output": "ef"}])");
    options.cache_dir = dir / "cache";
  }
  [[nodiscard]] fs::path cache_file() const { return fs::directory_iterator(dir / "cache")->path(); }
};

TEST_F(CacheTest, IsUsedWhenNothingChangedAndOnlyThen) {
  const auto first = open_dataset(options, character_tokenizer());
  const auto second = open_dataset(options, character_tokenizer());
  options.encode.cutoff_len = 4;
  const auto other_options = open_dataset(options, character_tokenizer());
  options.encode.cutoff_len = 2048;
  write("d.json", R"([{"instruction": "ab", "output": "d"}])");
  const auto other_data = open_dataset(options, character_tokenizer());

  EXPECT_FALSE(first.from_cache);
  EXPECT_TRUE(second.from_cache);
  EXPECT_EQ(second.rows->info().tokens, 6);
  EXPECT_EQ(second.rows->info().labels, 3);
  EXPECT_FALSE(other_options.from_cache);
  EXPECT_FALSE(other_data.from_cache);
}

// One flipped bit anywhere, or a cut end, is seen; the cache is made again and holds the right rows.
TEST_F(CacheTest, DamageIsSeenAndRepaired) {
  const auto digest = open_dataset(options, character_tokenizer()).state.rows;
  const std::string good = read_text(cache_file());
  for (std::size_t at = 0; at < good.size(); at += 3) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    std::ofstream(cache_file(), std::ios::binary) << bad;
    EXPECT_THROW(TokenStore::open(cache_file(), digest), IoError) << "byte " << at;
  }
  for (const std::size_t length : {std::size_t{0}, std::size_t{100}, good.size() - 1}) {
    std::ofstream(cache_file(), std::ios::binary) << good.substr(0, length);
    EXPECT_THROW(TokenStore::open(cache_file(), digest), IoError) << length;
  }

  const auto repaired = open_dataset(options, character_tokenizer());

  EXPECT_FALSE(repaired.from_cache);
  EXPECT_EQ(read_text(cache_file()), good);
  EXPECT_TRUE(open_dataset(options, character_tokenizer()).from_cache);
}

TEST(Encode, CutsSourceAndTargetByTheirShare) {
  EXPECT_EQ(infer_seqlen(10, 3, 8), (std::pair<std::int64_t, std::int64_t>{5, 3}));
  EXPECT_EQ(infer_seqlen(3, 10, 8), (std::pair<std::int64_t, std::int64_t>{3, 5}));
  EXPECT_EQ(infer_seqlen(30, 10, 8), (std::pair<std::int64_t, std::int64_t>{6, 2}));
  EXPECT_EQ(infer_seqlen(0, 0, 8), (std::pair<std::int64_t, std::int64_t>{0, 0}));
}

TEST(Encode, KnapsacksTakeTheLargestThatFits) {
  EXPECT_EQ(greedy_knapsack({3, 5, 2, 8, 5}, 10), (std::vector<std::vector<std::int64_t>>{{8, 2}, {5, 5}, {3}}));
  EXPECT_TRUE(greedy_knapsack({}, 10).empty());
}

TEST(Encode, DoesNotDependOnTheNumberOfThreads) {
  const auto tokenizer = load_tokenizer(character_tokenizer());
  const Template chat("alpaca");
  std::vector<Sample> samples;
  for (int i = 0; i < 300; ++i) {
    samples.push_back({{{Role::user, std::string(static_cast<std::size_t>(i * 7 % 50), 'q')}},
                       {{Role::assistant, std::to_string(i)}},
                       "",
                       ""});
  }
  EncodeOptions options;
  options.cutoff_len = 400;
  options.neat_packing = true;
  options.preprocessing_batch_size = 70;

  const auto one = encode_samples(samples, tokenizer, chat, options, 1);
  const auto four = encode_samples(samples, tokenizer, chat, options, 4);

  ASSERT_EQ(one.rows.size(), four.rows.size());
  for (std::size_t i = 0; i < one.rows.size(); ++i) {
    EXPECT_EQ(one.rows[i].input_ids, four.rows[i].input_ids);
    EXPECT_EQ(one.rows[i].sample_lens, four.rows[i].sample_lens);
  }
}

TEST(Encode, RefusesOptionsThatDoNotGoTogether) {
  const auto tokenizer = load_tokenizer(character_tokenizer());
  EncodeOptions options;
  options.train_on_prompt = true;
  EXPECT_THROW(encode_samples({}, tokenizer, Template("fewshot"), options), ConfigError);
  options.mask_history = true;
  EXPECT_THROW(encode_samples({}, tokenizer, Template("empty"), options), ConfigError);
}

}  // namespace
}  // namespace dstrain::test
