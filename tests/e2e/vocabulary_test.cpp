// SPDX-License-Identifier: Apache-2.0
/// Runs with new tokens, counted padding and pure bf16, as a user starts them.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "run_support.hpp"
#include "support/shared_data.hpp"

namespace dstrain::test::vocabulary_test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::int64_t stored_rows = 512, grown_rows = 576, width = 64;  // stories260K with two tokens more

/// LLaMA-Factory's own run on stories260K, two short steps of it.
std::string sft_command(int ranks, const fs::path& data, const fs::path& folder, const std::string& extra) {
  return fmt::format(
      "{}{} {} model_name_or_path={} dataset_dir={} output_dir={} max_samples=8 max_steps=2 "
      "gradient_accumulation_steps=2 virtual_ranks=1 reproducible=true cutoff_len=96 {}",
      mpirun(ranks), binary(), (data / "reference-runs/sft_full/train.yaml").string(), (data / "stories260K").string(),
      (data / "llamafactory-demo").string(), folder.string(), extra);
}

Json json_of(const fs::path& path) { return Json::parse(std::ifstream(path)); }

/// The stored table, then 64 rows around its mean.
void expect_grown(const std::vector<float>& table, const std::vector<float>& stored) {
  ASSERT_EQ(table.size(), static_cast<std::size_t>(grown_rows * width));
  EXPECT_TRUE(std::equal(stored.begin(), stored.end(), table.begin()));
  std::vector<double> mean(width, 0.0);
  for (std::size_t i = 0; i < stored.size(); ++i) mean[i % width] += static_cast<double>(stored[i]) / stored_rows;
  double sum = 0.0, squares = 0.0;
  for (std::size_t i = stored.size(); i < table.size(); ++i) {
    const double noise = static_cast<double>(table[i]) - mean[i % width];
    sum += noise;
    squares += noise * noise;
  }
  const auto count = static_cast<double>(table.size() - stored.size());
  const double deviation = 1.0 / std::sqrt(static_cast<double>(width));
  EXPECT_NEAR(sum / count, 0.0, 5 * deviation / std::sqrt(count));
  EXPECT_NEAR(std::sqrt(squares / count), deviation, 5 * deviation / std::sqrt(2 * count));
}

TEST(VocabularyRun, GrowsTheTableToTheSameRowsOnAnyRanks) {
  const auto shared = shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const fs::path data = *shared / "data";
  const auto folder = fresh_folder();
  const std::string keys = "learning_rate=0 add_special_tokens=\"<one>,<two>\" ";
  for (const auto& [name, ranks, extra] :
       {std::tuple{"a", 0, ""}, {"b", 2, "zero_stage=2"}, {"c", 3, "zero_stage=3"}}) {
    const auto result = run(sft_command(ranks, data, folder / name, keys + extra));
    ASSERT_EQ(result.exit_code, 0) << result.out << result.err;
  }

  const auto stored = weights_of(data / "stories260K");
  const auto grown = weights_of(folder / "a");
  expect_grown(grown.at("model.embed_tokens.weight"), stored.at("model.embed_tokens.weight"));
  EXPECT_EQ(relative_distance(weights_of(folder / "b"), grown), 0.0);
  EXPECT_EQ(relative_distance(weights_of(folder / "c"), grown), 0.0);
  EXPECT_EQ(json_of(folder / "a/config.json")["vocab_size"], grown_rows);
  const Json tokens = json_of(folder / "a/tokenizer.json")["added_tokens"];
  EXPECT_EQ(tokens.back()["content"], "<two>");
  EXPECT_EQ(tokens.back()["id"], stored_rows + 1);
  EXPECT_EQ(json_of(folder / "a/tokenizer_config.json")["added_tokens_decoder"]["512"]["content"], "<one>");
  const auto ids =
      run(fmt::format("(echo '\"<one> a <two>\"' | {} data --tokenize {})", binary(), (folder / "a").string()));
  EXPECT_NE(ids.out.find("512"), std::string::npos) << ids.out << ids.err;
  EXPECT_NE(ids.out.find("513"), std::string::npos) << ids.out << ids.err;
}

TEST(VocabularyRun, TrainsTheTablesBesideAdaptersAndMergesThem) {
  const auto shared = shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const fs::path data = *shared / "data";
  const auto folder = fresh_folder();
  const std::string keys = "finetuning_type=lora lora_target=q_proj add_tokens=\"<one>\" ";

  const auto one = run(sft_command(0, data, folder / "one", keys));
  ASSERT_EQ(one.exit_code, 0) << one.out << one.err;
  const auto two = run(sft_command(2, data, folder / "two", keys + "zero_stage=3"));
  ASSERT_EQ(two.exit_code, 0) << two.out << two.err;

  const auto adapter = weights_of(folder / "one/adapter_model.safetensors");
  EXPECT_EQ(relative_distance(weights_of(folder / "two/adapter_model.safetensors"), adapter), 0.0);
  EXPECT_EQ(json_of(folder / "one/adapter_config.json")["modules_to_save"], Json({"embed_tokens", "lm_head"}));
  const auto& table = adapter.at("base_model.model.model.embed_tokens.weight");
  EXPECT_EQ(table.size(), static_cast<std::size_t>(grown_rows * width));
  const auto merged =
      run(fmt::format("{} export model_name_or_path={} adapter_name_or_path={} finetuning_type=lora "
                      "add_tokens=\"<one>\" export_dir={} infer_dtype=float32",
                      binary(), (data / "stories260K").string(), (folder / "one").string(), (folder / "m").string()));
  ASSERT_EQ(merged.exit_code, 0) << merged.err;
  EXPECT_EQ(weights_of(folder / "m").at("model.embed_tokens.weight"), table);
  EXPECT_EQ(json_of(folder / "m/config.json")["vocab_size"], grown_rows);
}

TEST(PaddingRun, CountsPadsOnAnyRanks) {
  const auto shared = shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const fs::path data = *shared / "data";
  const auto folder = fresh_folder();
  const std::string keys = "ignore_pad_token_for_loss=false val_size=4 eval_strategy=steps eval_steps=2 ";
  for (const auto& [name, ranks, extra] : {std::tuple{"one", 0, keys},
                                           {"two", 2, keys + "zero_stage=3"},
                                           {"plain", 0, std::string("val_size=4 eval_strategy=steps eval_steps=2")}}) {
    const auto result = run(sft_command(ranks, data, folder / name, extra));
    ASSERT_EQ(result.exit_code, 0) << result.out << result.err;
  }
  const auto losses = [&](const char* name, const char* key) {
    return logged(folder / name / "trainer_state.json", key);
  };

  EXPECT_EQ(losses("one", "loss"), losses("two", "loss"));
  EXPECT_EQ(losses("one", "eval_loss"), losses("two", "eval_loss"));
  EXPECT_GT(std::abs(losses("one", "loss").at(1) - losses("plain", "loss").at(1)), 0.05);
  EXPECT_GT(std::abs(losses("one", "eval_loss").at(2) - losses("plain", "eval_loss").at(2)), 0.05);
}

/// A nano model on synthetic rows: 12 rows a step, 6 steps.
std::string nano_command(int ranks, const fs::path& folder, const std::string& extra) {
  return fmt::format(
      "{}{} train --model_name_or_path preset:nano --dataset synthetic --synthetic_rows 96 --cutoff_len 48 --stage pt "
      "--finetuning_type full --pure_bf16 --reproducible --do_train --learning_rate 1e-2 --lr_scheduler_type constant "
      "--max_steps 6 --logging_steps 1 --save_steps 3 --virtual_ranks 4 --per_device_train_batch_size 3 --output_dir "
      "{} {}",
      mpirun(ranks), binary(), folder.string(), extra);
}

TEST(PureBf16Run, ResumesOnOtherRanksAndStagesToTheSameBits) {
  const auto folder = fresh_folder();
  const auto whole = run(nano_command(1, folder / "whole", ""));
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  EXPECT_EQ(whole.err.find("master"), std::string::npos) << whole.err;
  const auto resumed = run(nano_command(
      3, folder / "resumed", "--zero_stage 3 --resume_from_checkpoint " + (folder / "whole/checkpoint-3").string()));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;

  EXPECT_EQ(relative_distance(weights_of(folder / "resumed"), weights_of(folder / "whole")), 0.0);
  const auto all = logged(folder / "whole/trainer_state.json");
  const auto rest = logged(folder / "resumed/trainer_state.json");
  for (std::int64_t step = 4; step <= 6; ++step) EXPECT_EQ(rest.at(step), all.at(step)) << step;
}

TEST(PureBf16Run, IsRefusedWithDeepSpeedsThirdStage) {
  const auto folder = fresh_folder();
  std::ofstream(folder / "ds.json") << R"({"zero_optimization": {"stage": 3}, "train_batch_size": "auto"})";

  const auto result = run(nano_command(1, folder / "out", "--deepspeed " + (folder / "ds.json").string()));

  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("`pure_bf16` is incompatible with DeepSpeed ZeRO-3."), std::string::npos) << result.err;
}

}  // namespace
}  // namespace dstrain::test::vocabulary_test
