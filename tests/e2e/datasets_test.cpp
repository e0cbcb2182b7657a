// SPDX-License-Identifier: Apache-2.0
/// Datasets through the binary: streaming, resuming on changed data, rows of stages that do not train yet.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "run_support.hpp"
#include "support/shared_data.hpp"

namespace dstrain::test::datasets_test {
namespace {

namespace fs = std::filesystem;

/// A folder with 40 rows, and a run of 6 steps of 4 rows on them.
class Datasets : public testing::Test {
 protected:
  void SetUp() override {
    const auto shared = shared_dir();
    if (!shared) GTEST_SKIP() << "skipped: no ../shared";
    data = *shared / "data";
    folder = fresh_folder();
    fs::create_directories(folder / "rows");
    std::ofstream(folder / "rows" / "dataset_info.json") << R"({"d": {"file_name": "d.jsonl"}})";
    write_rows("d.jsonl", 40);
  }
  void write_rows(const std::string& name, int count) const {
    std::ofstream file(folder / "rows" / name);
    for (int i = 0; i < count; ++i) {
      file << nlohmann::json{{"instruction", fmt::format("What is {}?", i)}, {"output", std::string(1 + i % 9, 'a')}}
                  .dump()
           << '\n';
    }
  }
  [[nodiscard]] std::string train(int ranks, const std::string& out, const std::string& more) const {
    return fmt::format(
        "{}{} train --stage sft --do_train --finetuning_type full --template default --use_cpu --model_name_or_path {} "
        "--dataset d --dataset_dir {} --cutoff_len 64 --learning_rate 1e-3 --max_steps 6 --save_steps 3 "
        "--logging_steps 1 --output_dir {} {}",
        mpirun(ranks), binary(), (data / "stories260K").string(), (folder / "rows").string(), (folder / out).string(),
        more);
  }

  fs::path data, folder;
};

TEST_F(Datasets, AStreamIsTheSameOnAnyNumberOfRanksAndAfterAResume) {
  const std::string stream = "--streaming --buffer_size 8 --val_size 5 --reproducible --virtual_ranks 2 ";
  const auto one = run(train(1, "one", stream + "--per_device_train_batch_size 2"));
  ASSERT_EQ(one.exit_code, 0) << one.err;
  const auto two = run(train(2, "two", stream + "--per_device_train_batch_size 2"));
  ASSERT_EQ(two.exit_code, 0) << two.err;
  const auto resumed = run(train(
      2, "resumed",
      stream + "--per_device_train_batch_size 2 --resume_from_checkpoint " + (folder / "one/checkpoint-3").string()));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;

  const auto losses = logged(folder / "one" / "trainer_state.json");
  ASSERT_EQ(losses.size(), 6U);
  EXPECT_EQ(logged(folder / "two" / "trainer_state.json"), losses);
  EXPECT_EQ(logged(folder / "resumed" / "trainer_state.json"), losses);
}

TEST_F(Datasets, AResumeOnAChangedFileIsRefused) {
  const auto first = run(train(1, "first", "--per_device_train_batch_size 4"));
  ASSERT_EQ(first.exit_code, 0) << first.err;
  write_rows("d.jsonl", 39);

  const auto second = run(
      train(2, "second",
            "--per_device_train_batch_size 2 --resume_from_checkpoint " + (folder / "first/checkpoint-3").string()));

  EXPECT_EQ(second.exit_code, 3) << second.err;
  EXPECT_NE(second.err.find("d/d.jsonl changed"), std::string::npos) << second.err;
}

TEST_F(Datasets, RowsOfEveryStageAreShownAndThoseThatDoNotTrainAreRefused) {
  const auto words = [&](const char* command, const char* stage, const char* dataset) {
    return fmt::format(
        "{} {} --stage {} --finetuning_type full --template default --model_name_or_path {} --dataset {} --dataset_dir "
        "{} "
        "--max_samples 4 --output_dir {}",
        binary(), command, stage, (data / "stories260K").string(), dataset, (data / "llamafactory-demo").string(),
        (folder / "out").string());
  };
  const auto columns = [&](const char* stage, const char* dataset) {
    const auto result = run(words("data --json --show 1", stage, dataset));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::string names;
    const auto out = nlohmann::json::parse(result.out);
    for (const auto& [name, value] : out["rows"][0].items()) names += name + " ";
    return names;
  };

  EXPECT_EQ(
      columns("dpo", "dpo_en_demo"),
      "chosen_attention_mask chosen_input_ids chosen_labels label_text rejected_attention_mask rejected_input_ids "
      "rejected_labels row second_text text ");
  EXPECT_EQ(columns("kto", "kto_en_demo"),
            "attention_mask input_ids kl_attention_mask kl_input_ids kl_labels kto_tags label_text labels row "
            "second_text text ");
  EXPECT_EQ(columns("sft", "identity"), "attention_mask input_ids label_text labels position_ids row text ");
  const auto refused = run(words("train --do_train", "dpo", "dpo_en_demo"));
  EXPECT_EQ(refused.exit_code, 2) << refused.err;
  EXPECT_NE(refused.err.find("stage: dpo does not train yet"), std::string::npos) << refused.err;
}

}  // namespace
}  // namespace dstrain::test::datasets_test
