// SPDX-License-Identifier: Apache-2.0
/// What rows of each form mean: pairs, tagged answers, OpenAI's messages, missing csv fields; and their order.
#include "dataset_fixture.hpp"

namespace dstrain::test {
namespace {

class FormatsTest : public DatasetTest {
 protected:
  static std::string letters(std::span<const std::int32_t> ids) {
    std::string out;
    for (const auto id : ids) out += id == ignore_label ? '.' : static_cast<char>(id);
    return out;
  }
  /// Every sequence of every row as letters; labels with a dot where there is no loss.
  [[nodiscard]] std::string rows() const {
    const auto dataset = open_dataset(options, character_tokenizer());
    std::string out;
    std::vector<std::int32_t> scratch;
    for (std::int64_t i = 0; i < dataset.rows->info().rows; ++i) {
      const RowView row = dataset.rows->row(i, scratch);
      out += letters(row.input_ids) + "/" + letters(row.labels);
      if (!row.second_input_ids.empty()) out += " " + letters(row.second_input_ids) + "/" + letters(row.second_labels);
      out += row.desirable ? "\n" : " undesired\n";
    }
    return out;
  }
};

TEST_F(FormatsTest, PairsOfTheAlpacaForm) {
  describe(R"({"file_name": "d.json", "ranking": true, "columns": {"prompt": "q", "chosen": "c", "rejected": "r"}})");
  write("d.json", R"([{"q": "Q", "c": "good", "r": "b"}, {"q": "no pair", "c": "x"}])");
  options.encode.stage = Stage::rm;

  EXPECT_EQ(rows(), "Qgood/.good Qb/.b\n");
}

TEST_F(FormatsTest, PairsOfTheShareGptForm) {
  describe(
      R"({"file_name": "d.json", "ranking": true, "formatting": "sharegpt", "columns": {"messages": "m", "chosen": "c", "rejected": "r"}})");
  write("d.json", R"([
    {"m": [{"from": "system", "value": "S"}, {"from": "human", "value": "Q"}, {"from": "gpt", "value": "a"}, {"from": "human", "value": "R"}],
     "c": {"from": "gpt", "value": "good"}, "r": {"from": "gpt", "value": "b"}},
    {"m": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "even"}], "c": {"from": "gpt", "value": "x"}, "r": {"from": "gpt", "value": "y"}},
    {"m": [{"from": "human", "value": "Q"}], "c": {"from": "human", "value": "x"}, "r": {"from": "gpt", "value": "y"}}])");
  options.encode.stage = Stage::rm;
  options.encode.cutoff_len = 6;

  // Four tokens of prompt and four of the longer answer share six places.
  EXPECT_EQ(rows(), "SQagoo/...goo SQab/...b\n");
}

TEST_F(FormatsTest, TaggedAnswersGetTheAnswerBeforeThemInTheirGroup) {
  describe(R"({"file_name": "d.json", "columns": {"prompt": "q", "response": "a", "kto_tag": "k"}})");
  write("d.json",
        R"([{"q": "A", "a": "1", "k": true}, {"q": "B", "a": "2", "k": false}, {"q": "C", "a": "3", "k": true},
                      {"q": "D", "a": "4", "k": "no tag"}])");
  options.encode.stage = Stage::kto;
  options.encode.preprocessing_batch_size = 2;

  // D has no tag and is dropped, but C gets its answer.
  EXPECT_EQ(rows(), "A1/.1 A2/.2\nB2/.2 B1/.1 undesired\nC3/.3 C4/.4\n");
}

TEST_F(FormatsTest, PromptsKeepTheAnswerAsLabels) {
  describe(R"({"file_name": "d.json"})");
  write("d.json", R"([{"instruction": "Q", "input": "I", "output": "answer"}, {"instruction": "only"}])");
  options.encode.stage = Stage::ppo;

  EXPECT_EQ(rows(), "Q\nI/answer\nonly/\n");
}

TEST_F(FormatsTest, OpenAiMessagesWithToolCalls) {
  describe(R"({"file_name": "d.json", "formatting": "openai", "columns": {"messages": "messages"}})");
  write("d.json", R"([{"messages": [
      {"role": "user", "content": "Q"},
      {"role": "assistant", "content": null, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]},
      {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"},
      {"role": "assistant", "content": "A"}]}])");
  NumpyLegacyRandom random(1);
  std::vector<DatasetSource> sources;
  sources.push_back(open_dataset_files(find_dataset(read_text(dir / "dataset_info.json"), "d", "info"), dir));

  const auto samples = to_samples(DatasetReader(sources, {}, random).next(10), 1);

  ASSERT_EQ(samples.size(), 1U);
  ASSERT_EQ(samples[0].prompt.size(), 3U);
  EXPECT_EQ(samples[0].prompt[1].role, Role::function);
  EXPECT_EQ(samples[0].prompt[1].content, R"([{"name": "f", "arguments": {"a": 1}}])");
  EXPECT_EQ(samples[0].prompt[2].role, Role::observation);
  EXPECT_EQ(samples[0].prompt[2].content, "1\n</tool_response>\n<tool_response>\n2");
  EXPECT_EQ(samples[0].response.at(0).content, "A");
}

TEST_F(FormatsTest, StagesTakeTheDatasetsMeantForThem) {
  write("d.json", R"([{"instruction": "Q", "output": "A"}])");
  describe(R"({"file_name": "d.json"})");
  options.encode.stage = Stage::rm;
  EXPECT_NE(problem().find("not applicable in the current training stage"), std::string::npos);
  describe(R"({"file_name": "d.json", "ranking": true})");
  options.encode.stage = Stage::kto;
  EXPECT_NE(problem().find("not applicable in the current training stage"), std::string::npos);
  describe(R"({"file_name": "d.json", "split": "validation"})");
  options.encode.stage = Stage::sft;
  EXPECT_NE(problem().find("split validation does not exist"), std::string::npos);
  describe(R"({"file_name": "d.parquet"})");
  write("d.parquet", "PAR1");
  EXPECT_NE(problem().find("parquet files are not read"), std::string::npos);
}

TEST_F(FormatsTest, EmptyCsvFieldsAreMissing) {
  describe(R"({"file_name": "d.csv", "columns": {"prompt": "q", "query": "i", "response": "a", "kto_tag": "k"}})");
  write("d.csv", "q,i,a,k\nQ,,A,\nR,NA,,\n\"S\"\"\",x,B\n");
  EXPECT_EQ(rows(), "QA/.A\nS\"\nxB/....B\n");
  write("d.csv", "q,i,a,k\nA,,1,True\nB,,2,false\n");
  options.encode.stage = Stage::kto;
  EXPECT_EQ(rows(), "A1/.1 A2/.2\nB2/.2 B1/.1 undesired\n");
  write("d.csv", "q,i,a,k\nA,,1,True,more\n");
  EXPECT_NE(problem().find("has 5 fields, the header has 4"), std::string::npos);
  EXPECT_NE(problem().find("d.csv:2"), std::string::npos);
}

TEST_F(FormatsTest, DatasetsAreMixedAndResampledRowByRow) {
  write("dataset_info.json", R"({"a": {"file_name": "a.jsonl"}, "b": {"file_name": "b.csv"},
                                 "c": {"file_name": "a.jsonl", "num_samples": 5}})");
  std::string lines;
  for (char c = '0'; c < '4'; ++c) lines += fmt::format("{{\"instruction\": \"{}\", \"output\": \"{}\"}}\n", c, c);
  write("a.jsonl", lines);
  write("b.csv", "instruction,output\nx,x\ny,y\n");
  options.dataset = {"a", "b"};
  EXPECT_EQ(texts(), "00|11|22|33|xx|yy|");
  options.mix_strategy = MixStrategy::interleave_under;
  EXPECT_EQ(texts(), "00|xx|11|yy|");
  options.mix_strategy = MixStrategy::interleave_over;
  options.max_samples = 3;
  EXPECT_EQ(texts(), "00|xx|11|yy|22|xx|");
  options.mix_strategy = MixStrategy::concat;
  options.max_samples.reset();
  options.dataset = {"c"};
  EXPECT_EQ(texts(), "11|33|00|22|22|");  // numpy: seed(42), permutation(4), choice(4, 1)
}

TEST_F(FormatsTest, AFileMayBeNamedByItsPath) {
  write("chat.jsonl", R"({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]})");
  write("pairs.json", R"([{"prompt": "P", "chosen": "c", "rejected": "r"}])");
  write("numbers.json", R"([{"x": 1}])");
  options.dataset = {(dir / "chat.jsonl").string()};
  EXPECT_EQ(texts(), "QA|");  // without any dataset_info.json
  write("dataset_info.json", "{}");
  options.dataset = {"pairs.json"};
  EXPECT_EQ(texts(), "Pc|");
  options.encode.stage = Stage::rm;
  EXPECT_EQ(rows(), "Pc/.c Pr/.r\n");
  options.dataset = {"numbers.json"};
  EXPECT_NE(problem().find("no column that is known"), std::string::npos);
  options.dataset = {"nowhere.json"};
  EXPECT_NE(problem().find("Undefined dataset nowhere.json in dataset_info.json."), std::string::npos);
}

TEST_F(FormatsTest, GdGptsRowsAreReadByTheirType) {
  write("dataset_info.json", "{}");
  write("g.json", R"([
    {"type": "instruct", "instruct": "I", "input": "x", "output": "O"},
    {"type": "conversation", "rounds": [["ask", "a"], ["ask", "b"], ["ans", "c"], ["ask", "d"], ["ans", "e"]]},
    {"type": "ref_qa", "reference": "R", "rounds": [["ask", "q"], ["ans", "w"]]},
    {"type": "conversation", "rounds": [["ans", "nobody asked"]]},
    {"type": "pretrain", "text": "T"}])");
  options.dataset = {"g.json"};

  EXPECT_EQ(rows(),
            "I\nxO/...O\n"
            "a\nbcde/...c.e\n"
            "Generate responses to the given instruction series according to the reference text.\n\nReference:\nRqw/" +
                std::string(98, '.') + "w\n" + "T/T\n");

  write("g.json", R"([{"type": "pretrain", "text": "one"}, {"type": "pretrain", "text": "two"}])");
  options.encode.stage = Stage::pt;
  EXPECT_EQ(texts(), "one\x03|two\x03|");
}

TEST_F(FormatsTest, GdGptsOtherTypesAreNamed) {
  write("dataset_info.json", "{}");
  options.dataset = {"g.json"};
  write("g.json", R"([{"type": "conver_has_api", "rounds": []}])");
  EXPECT_NE(problem().find("conver_has_api is not read"), std::string::npos) << problem();
  write("g.json", R"([{"type": "instruct", "instruct": "a", "output": "b"}, {"type": "other", "text": "x"}])");
  EXPECT_NE(problem().find("\"other\""), std::string::npos) << problem();
  write("g.json", R"([{"type": "conversation", "rounds": [["says", "x"]]}])");
  EXPECT_NE(problem().find("ask or ans"), std::string::npos) << problem();
}

TEST_F(FormatsTest, DeepSpeedChatLearnsPromptAndAnswerAsOneText) {
  write("dataset_info.json", "{}");
  write("train.json", R"([{"prompt": "H: q A:", "chosen": " c", "rejected": "r"}])");
  options.dataset = {"train.json"};
  options.template_name = "deepspeed_chat";
  options.encode.train_on_prompt = true;

  EXPECT_EQ(rows(), "\x02H: q A: c\x03/\x02H: q A: c\x03\n");
}

// Rows that stand across the pieces in which a file is read, and rows longer than one.
TEST_F(FormatsTest, LongFilesAreReadInPieces) {
  describe(R"({"file_name": "d.json"})");
  options.encode.cutoff_len = 1 << 22;
  for (const bool list : {true, false}) {
    std::string text = list ? " [" : "";
    for (int i = 0; i < 2500; ++i) {
      const std::string answer(static_cast<std::size_t>(i == 1200 ? 3'000'000 : 900 + i % 7),
                               static_cast<char>('a' + i % 26));
      text += fmt::format("{}{{\"instruction\": \"[{{\\\"{}\", \"output\": \"{}\"}}",
                          i == 0 ? ""
                          : list ? ",\n"
                                 : "\n",
                          i % 10, answer);
    }
    write("d.json", text + (list ? "\n]\n" : "\n"));
    const auto dataset = open_dataset(options, character_tokenizer());
    ASSERT_EQ(dataset.rows->info().rows, 2500);
    EXPECT_EQ(dataset.rows->info().max_row_tokens, 3'000'004);
    std::vector<std::int32_t> scratch;
    for (std::int64_t i = 0; i < 2500; ++i) {
      const RowView row = dataset.rows->row(i, scratch);
      ASSERT_EQ(row.input_ids[3], '0' + i % 10);
      ASSERT_EQ(row.input_ids.back(), 'a' + i % 26);
    }
  }
}

}  // namespace
}  // namespace dstrain::test
