// SPDX-License-Identifier: Apache-2.0
/// Evaluation as a person sees it: LLaMA-Factory's own run repeated, the best model, early stopping, other ranks.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "run_support.hpp"
#include "support/shared_data.hpp"

namespace dstrain::test::evaluation_test {
namespace {

using Json = nlohmann::json;

Json read_json(const std::filesystem::path& path) {
  std::ifstream in(path);
  return in ? Json::parse(in) : Json();
}

struct Case {
  int ranks;
  const char* extra;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.ranks << " ranks " << c.extra; }

class ReferenceEvaluation : public testing::TestWithParam<Case> {};

// LLaMA-Factory 0.9.3 on one process: so many ranks of ours stand for one.
TEST_P(ReferenceEvaluation, HasLlamaFactorysLossesAndAccuracies) {
  const auto c = GetParam();
  const auto shared = shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const auto data = *shared / "data";
  const auto reference = data / "reference-runs/sft_eval";
  const auto folder = fresh_folder();

  const auto result = run(fmt::format("{}{} {} model_name_or_path={} dataset_dir={} output_dir={} {}", mpirun(c.ranks),
                                      binary(), (reference / "train.yaml").string(), (data / "stories260K").string(),
                                      (data / "llamafactory-demo").string(), folder.string(), c.extra));

  ASSERT_EQ(result.exit_code, 0) << result.out << result.err;
  for (const auto& [key, tolerance] :
       {std::pair{"loss", 2e-4}, {"eval_loss", 2e-4}, {"eval_accuracy", 1e-3}, {"epoch", 1e-12}}) {
    const auto expected = logged(reference / "trainer_state.json", key);
    const auto found = logged(folder / "trainer_state.json", key);
    ASSERT_EQ(found.size(), expected.size()) << key;
    for (const auto& [step, value] : expected) EXPECT_NEAR(found.at(step), value, tolerance) << key << " " << step;
  }
  const auto state = read_json(folder / "trainer_state.json");
  EXPECT_EQ(state["eval_steps"], 4);
  EXPECT_DOUBLE_EQ(state["total_flos"].get<double>(), 44507381760.0);
  const auto all = read_json(folder / "all_results.json");
  const auto expected_results = read_json(reference / "all_results.json");
  for (const auto& [key, value] : expected_results.items()) {
    ASSERT_TRUE(all.contains(key)) << key;
    if (key.find("runtime") != std::string::npos || key.find("per_second") != std::string::npos) continue;
    EXPECT_NEAR(all[key].get<double>(), value.get<double>(), 1e-3 * std::abs(value.get<double>())) << key;
  }
  EXPECT_EQ(read_json(folder / "eval_results.json").size(), read_json(reference / "eval_results.json").size());
  for (const char* picture : {"training_loss.png", "training_eval_loss.png", "training_eval_accuracy.png"})
    EXPECT_TRUE(std::filesystem::exists(folder / picture)) << picture;
}

INSTANTIATE_TEST_SUITE_P(Ranks, ReferenceEvaluation,
                         testing::Values(Case{1, ""}, Case{2, "virtual_ranks=1 zero_stage=2"},
                                         Case{4, "virtual_ranks=1 zero_stage=3"}));

/// A nano model that learns few rows by heart, and evaluates on others.
std::string train_command(int ranks, const std::filesystem::path& folder, const std::string& extra) {
  return fmt::format(
      "{}{} train --model_name_or_path preset:nano --dataset synthetic --synthetic_rows 30 --val_size 0.4 --cutoff_len "
      "24 --stage pt --finetuning_type full --do_train --learning_rate 1e-2 --lr_scheduler_type constant --max_steps "
      "12 "
      "--logging_steps 1 --per_device_train_batch_size 4 --per_device_eval_batch_size 5 --virtual_ranks 2 "
      "--save_only_model --output_dir {} {}",
      mpirun(ranks), binary(), folder.string(), extra);
}

// Uneven rounds: 12 rows in batches of 5 on 2 virtual ranks are 3 batches, the last ones filled up.
TEST(Evaluation, IsTheSameOnAnyRanksAndStages) {
  const auto folder = fresh_folder();
  const std::string keys =
      "--eval_strategy steps --eval_steps 4 --eval_on_start --compute_accuracy --save_strategy no ";
  const auto first = run(train_command(1, folder / "1", keys));
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const auto expected = logged(folder / "1/trainer_state.json", "eval_loss");
  ASSERT_EQ(expected.size(), 4U) << "before the first step, after 4, 8 and 12";
  EXPECT_TRUE(expected.contains(0));
  for (const auto& [ranks, stage] : {std::pair{2, 2}, {3, 3}}) {
    const auto name = fmt::format("{}", ranks);

    const auto result = run(train_command(ranks, folder / name, keys + fmt::format("--zero_stage {}", stage)));

    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto losses = logged(folder / name / "trainer_state.json", "eval_loss");
    ASSERT_EQ(losses.size(), expected.size());
    for (const auto& [step, loss] : expected) EXPECT_NEAR(losses.at(step), loss, 1e-4 * loss) << step;
    const double loss = read_json(folder / name / "eval_results.json")["eval_loss"].get<double>();
    EXPECT_NEAR(loss, expected.at(12), 1e-4 * loss);
    EXPECT_NEAR(read_json(folder / name / "eval_results.json")["perplexity"].get<double>(), std::exp(loss),
                1e-9 * std::exp(loss));
  }
}

// Random rows cannot be learnt: the validation loss soon rises, the best model is an early one.
TEST(Evaluation, TheBestModelIsKeptLoadedAndNamed) {
  const auto folder = fresh_folder();

  const auto result = run(train_command(2, folder / "run",
                                        "--zero_stage 3 --eval_strategy steps --eval_steps 2 --save_strategy steps "
                                        "--save_steps 2 --save_total_limit 1 --load_best_model_at_end"));

  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto state = read_json(folder / "run/trainer_state.json");
  const auto losses = logged(folder / "run/trainer_state.json", "eval_loss");
  const auto best =
      std::min_element(losses.begin(), losses.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  ASSERT_LT(best->first, 12) << "the last step must not be the best one for this test to say anything";
  EXPECT_EQ(state["best_global_step"], best->first);
  EXPECT_DOUBLE_EQ(state["best_metric"].get<double>(), best->second);
  const auto checkpoint = folder / "run" / fmt::format("checkpoint-{}", best->first);
  EXPECT_EQ(state["best_model_checkpoint"], checkpoint.string());
  std::vector<std::string> checkpoints;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "run")) {
    if (entry.path().filename().string().starts_with("checkpoint-")) checkpoints.push_back(entry.path().filename());
  }
  EXPECT_EQ(checkpoints, std::vector<std::string>{checkpoint.filename().string()});
  EXPECT_NEAR(read_json(folder / "run/eval_results.json")["eval_loss"].get<double>(), best->second, 1e-12);

  // The model in output_dir is that one: evaluated alone, on one rank, it has the best loss.
  const auto again = run(fmt::format(
      "{} eval --model_name_or_path {} --dataset synthetic --synthetic_rows 30 --val_size 0.4 --cutoff_len 24 --stage "
      "pt --finetuning_type full --per_device_eval_batch_size 5 --virtual_ranks 2 --output_dir {}",
      binary(), (folder / "run").string(), (folder / "eval").string()));

  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_NEAR(read_json(folder / "eval/eval_results.json")["eval_loss"].get<double>(), best->second, 1e-5);
  EXPECT_FALSE(std::filesystem::exists(folder / "eval/trainer_state.json"));
}

TEST(Evaluation, EarlyStoppingEndsTheRunAndEverythingIsWritten) {
  const auto folder = fresh_folder();

  const auto result = run(train_command(2, folder,
                                        "--eval_strategy steps --eval_steps 1 --save_strategy best "
                                        "--metric_for_best_model loss --early_stopping_steps 2 --learning_rate 5e-2"));

  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto losses = logged(folder / "trainer_state.json", "eval_loss");
  const auto state = read_json(folder / "trainer_state.json");
  ASSERT_LT(losses.size(), 12U) << "stopped before the last step";
  EXPECT_EQ(state["global_step"], losses.rbegin()->first);
  EXPECT_EQ(state["global_step"].get<std::int64_t>(), state["best_global_step"].get<std::int64_t>() + 2);
  EXPECT_TRUE(std::filesystem::exists(state["best_model_checkpoint"].get<std::string>()));
  EXPECT_TRUE(std::filesystem::exists(folder / "model.safetensors"));
  EXPECT_TRUE(read_json(folder / "train_results.json").contains("train_loss"));
}

// stories260K answers alpaca's questions: nonsense, but the same nonsense on any ranks.
TEST(Prediction, WritesAnAnswerToEveryRowInTheirOrder) {
  const auto shared = shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const auto data = *shared / "data";
  const auto folder = fresh_folder();
  std::map<std::string, std::string> files;
  for (const auto& [ranks, stage] : {std::pair{1, 0}, {3, 0}, {2, 3}}) {
    const auto name = fmt::format("{}-{}", ranks, stage);

    const auto result = run(fmt::format(
        "{}{} train --stage sft --model_name_or_path {} --dataset_dir {} --eval_dataset identity --max_samples 5 "
        "--template default --cutoff_len 64 --finetuning_type full --do_predict --predict_with_generate --do_sample "
        "false --max_new_tokens 12 --per_device_eval_batch_size 2 --zero_stage {} --output_dir {}",
        mpirun(ranks), binary(), (data / "stories260K").string(), (data / "llamafactory-demo").string(), stage,
        (folder / name).string()));

    ASSERT_EQ(result.exit_code, 0) << result.out << result.err;
    std::ifstream in(folder / name / "generated_predictions.jsonl");
    files[name] = std::string(std::istreambuf_iterator<char>(in), {});
    const auto metrics = read_json(folder / name / "predict_results.json");
    for (const char* key : {"predict_bleu-4", "predict_rouge-1", "predict_rouge-2", "predict_rouge-l",
                            "predict_runtime", "predict_samples_per_second"})
      EXPECT_TRUE(metrics.contains(key)) << key;
    EXPECT_FALSE(std::filesystem::exists(folder / name / "model.safetensors"));
  }
  EXPECT_EQ(files["3-0"], files["1-0"]);
  EXPECT_EQ(files["2-3"], files["1-0"]);
  std::istringstream lines(files["1-0"]);
  std::vector<Json> rows;
  for (std::string line; std::getline(lines, line);) rows.push_back(Json::parse(line));
  ASSERT_EQ(rows.size(), 5U);
  EXPECT_EQ(rows[0]["prompt"], "Human: hi</s> \nAssistant:");
  EXPECT_TRUE(rows[0]["label"].get<std::string>().starts_with("Hello! I am {{name}}")) << rows[0].dump();
  for (const auto& row : rows) EXPECT_FALSE(row["predict"].get<std::string>().empty()) << row.dump();
}

TEST(Evaluation, WithoutRowsItIsAnErrorBeforeTheStart) {
  const auto folder = fresh_folder();

  const auto result = run(train_command(1, folder, "--val_size 0 --eval_strategy epoch"));

  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_NE(result.err.find("Please specify dataset for evaluation."), std::string::npos) << result.err;
}

}  // namespace
}  // namespace dstrain::test::evaluation_test
