// SPDX-License-Identifier: Apache-2.0
/// Rows that come while they are used, and rows that are kept in a tokenized_path.
#include "data/streamed_rows.hpp"

#include "data/row_stream.hpp"
#include "dataset_fixture.hpp"

namespace dstrain::test {
namespace {

class StreamingTest : public DatasetTest {
 protected:
  void SetUp() override {
    DatasetTest::SetUp();
    write("dataset_info.json", R"({"d": {"file_name": "d.jsonl"}, "e": {"file_name": "e.jsonl"}})");
    std::string lines;
    for (char c = 'a'; c < 'k'; ++c) lines += fmt::format("{{\"instruction\": \"{}\", \"output\": \"{}\"}}\n", c, c);
    write("d.jsonl", lines);
    write("e.jsonl", R"({"instruction": "0", "output": "0"})");
    options.streaming = true;
    options.stream = {.buffer_size = 4, .rows = 24, .rows_per_step = 4};
  }
  static std::string letters(const RowSource& rows) {
    std::string out;
    std::vector<std::int32_t> scratch;
    for (std::int64_t i = 0; i < rows.info().rows; ++i) out += static_cast<char>(rows.row(i, scratch).input_ids[0]);
    return out;
  }
  /// The rows a..j in the order of a pass.
  static std::string pass(std::int64_t number, std::size_t buffer_size) {
    BufferShuffle<char> shuffle(buffer_size, stream_generator(42, number));
    std::string out;
    for (char c = 'a'; c < 'k'; ++c) {
      if (const auto pushed = shuffle.push(c)) out += *pushed;
    }
    for (const char c : shuffle.finish()) out += c;
    return out;
  }
};

TEST_F(StreamingTest, PassesFollowEachOtherInOrdersOfTheirOwn) {
  const auto dataset = open_dataset(options, character_tokenizer());

  EXPECT_TRUE(dataset.rows->info().streamed);
  EXPECT_EQ(letters(*dataset.rows), pass(0, 4) + pass(1, 4) + pass(2, 4).substr(0, 4));
  EXPECT_NE(pass(0, 4), pass(1, 4));
}

// A resumed run starts in the middle, and a step is read twice: for its shape and for its tokens.
TEST_F(StreamingTest, RowsAreTheSameWhereverReadingStarts) {
  const auto whole = open_dataset(options, character_tokenizer());
  const auto resumed = open_dataset(options, character_tokenizer());
  const std::string expected = letters(*whole.rows);
  std::vector<std::int32_t> scratch;

  for (int time = 0; time < 2; ++time) {
    for (std::int64_t i = 12; i < 16; ++i) {
      EXPECT_EQ(static_cast<char>(resumed.rows->row(i, scratch).input_ids[0]), expected[static_cast<std::size_t>(i)]);
    }
  }
  EXPECT_EQ(letters(*resumed.rows), expected);
}

TEST_F(StreamingTest, ValSizeTakesTheFirstRowsOfTheStream) {
  options.val_size = 3;
  const auto dataset = open_dataset(options, character_tokenizer());

  ASSERT_EQ(dataset.eval_rows.size(), 1U);
  EXPECT_EQ(letters(*dataset.eval_rows[0].rows), pass(0, 4).substr(0, 3));
  EXPECT_EQ(letters(*dataset.rows).substr(0, 14), pass(0, 4).substr(3) + pass(1, 4).substr(3));
}

TEST_F(StreamingTest, DatasetsAreInterleavedByTheGeneratorOfTheirPass) {
  options.dataset = {"d", "e"};
  options.mix_strategy = MixStrategy::interleave_under;
  options.stream = {.buffer_size = 1, .rows = 6, .rows_per_step = 1};

  // In turns, until e has ended; a buffer of one does not shuffle.
  EXPECT_EQ(letters(*open_dataset(options, character_tokenizer()).rows), "a0a0a0");
}

TEST_F(StreamingTest, NoRowToTrainOnIsAnErrorAndNoEndlessLoop) {
  write("d.jsonl", R"({"instruction": "no answer"})");
  const auto dataset = open_dataset(options, character_tokenizer());
  std::vector<std::int32_t> scratch;

  EXPECT_THROW(static_cast<void>(dataset.rows->row(0, scratch)), ConfigError);
}

class TokenizedPathTest : public DatasetTest {
 protected:
  void SetUp() override {
    DatasetTest::SetUp();
    describe(R"({"file_name": "d.json"})");
    write(
        "d.json",
        R"([{"instruction": "a", "output": "a"}, {"instruction": "b", "output": "b"}, {"instruction": "c", "output": "c"}])");
    options.tokenized_path = dir / "tokenized";
    options.val_size = 0.3;
  }
};

TEST_F(TokenizedPathTest, IsMadeOnceAndThenTakenInsteadOfTheDatasets) {
  const std::string made = texts();
  fs::remove(dir / "d.json");
  options.val_size = 0.0;

  EXPECT_EQ(texts(), made);
  const auto dataset = open_dataset(options, character_tokenizer());
  ASSERT_EQ(dataset.eval_rows.size(), 1U);
  EXPECT_EQ(dataset.eval_rows[0].rows->info().rows, 1);
}

TEST_F(TokenizedPathTest, RefusesWhatItCannotTake) {
  static_cast<void>(texts());
  options.encode.stage = Stage::kto;
  EXPECT_NE(problem().find("of another stage"), std::string::npos);
  options.encode.stage = Stage::sft;
  write("tokenized/train.dstok", "damaged");
  EXPECT_NE(problem().find("damaged"), std::string::npos);
  options.tokenized_path = dir / "arrow";
  fs::create_directories(dir / "arrow" / "train");
  EXPECT_NE(problem().find("holds no rows that dstrain wrote"), std::string::npos);
  options.tokenized_path = dir / "new";
  options.streaming = true;
  EXPECT_NE(problem().find("Turn off `streaming`"), std::string::npos);
}

TEST(DataStateTest, NamesWhatChanged) {
  const std::string a(32, 'a'), b(32, 'b'), c(32, 'c');
  const DataState before{{{"d/x.json", a}, {"d/y.json", b}}, c};
  const auto read = DataState::parse(before.to_text(), "checkpoint");

  EXPECT_EQ(read.files, before.files);
  EXPECT_EQ(read.rows, before.rows);
  EXPECT_EQ(before.difference(read), "");
  EXPECT_EQ((DataState{{{"d/x.json", a}, {"d/y.json", c}}, a}).difference(before), "d/y.json changed");
  EXPECT_EQ((DataState{{{"d/x.json", a}}, a}).difference(before), "d/x.json instead of d/x.json, d/y.json");
  EXPECT_NE((DataState{before.files, a}).difference(before).find("keys"), std::string::npos);
  EXPECT_THROW(DataState::parse("nonsense\n", "checkpoint"), IoError);
}

}  // namespace
}  // namespace dstrain::test
