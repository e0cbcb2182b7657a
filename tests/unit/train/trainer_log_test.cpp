// SPDX-License-Identifier: Apache-2.0
#include "train/trainer_log.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.hpp"

namespace dstrain::trainer_log_test {
namespace {

using Json = nlohmann::json;

class TrainerLogTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = std::filesystem::path(DSTRAIN_TEST_TMP) / testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  [[nodiscard]] std::vector<Json> lines() const {
    std::ifstream in(dir_ / "trainer_log.jsonl");
    std::vector<Json> out;
    for (std::string line; std::getline(in, line);) out.push_back(Json::parse(line));
    return out;
  }
  [[nodiscard]] Json read(const std::string& name) const { return Json::parse(std::ifstream(dir_ / name)); }

  std::filesystem::path dir_;
  RunFacts facts_{
      .max_steps = 4, .num_train_epochs = 2.0, .logging_steps = 1, .save_steps = 500, .train_batch_size = 2};
};

TEST_F(TrainerLogTest, LinesCarryLlamaFactorysKeys) {
  TrainerLog log(dir_, facts_, false);
  log.add({.step = 1, .epoch = 0.5, .loss = 9.36542, .grad_norm = 19.5, .learning_rate = 1e-3});

  const auto line = lines().at(0);
  EXPECT_EQ(line["current_steps"], 1);
  EXPECT_EQ(line["total_steps"], 4);
  EXPECT_DOUBLE_EQ(line["loss"].get<double>(), 9.3654);
  EXPECT_DOUBLE_EQ(line["lr"].get<double>(), 1e-3);
  EXPECT_DOUBLE_EQ(line["epoch"].get<double>(), 0.5);
  EXPECT_DOUBLE_EQ(line["percentage"].get<double>(), 25.0);
  EXPECT_EQ(line["elapsed_time"], "0:00:00");
}

TEST_F(TrainerLogTest, FinishWritesResultsAndState) {
  TrainerLog log(dir_, facts_, false);
  log.add({.step = 4, .epoch = 2.0, .loss = 1.25, .grad_norm = 1, .learning_rate = 0});
  log.set_totals({.input_tokens = 800, .flos = 1e9});
  log.set_best({.metric = 1.25, .global_step = 2, .checkpoint = "out/checkpoint-2"});
  log.finish(4, {.epoch = 2.0, .train_loss = 1.5, .train_runtime_s = 2.0});

  EXPECT_DOUBLE_EQ(read("all_results.json")["train_loss"].get<double>(), 1.5);
  const auto state = read("trainer_state.json");
  EXPECT_EQ(state["global_step"], 4);
  EXPECT_EQ(state["log_history"].size(), 2U);
  EXPECT_EQ(state["log_history"][0]["step"], 4);
  EXPECT_DOUBLE_EQ(state["log_history"][1]["train_loss"].get<double>(), 1.5);
  EXPECT_DOUBLE_EQ(state["total_flos"].get<double>(), 1e9);
  EXPECT_EQ(state["num_input_tokens_seen"], 0);  // not asked for
  EXPECT_EQ(state["best_metric"], 1.25);
  EXPECT_EQ(state["best_global_step"], 2);
  EXPECT_EQ(state["best_model_checkpoint"], "out/checkpoint-2");
  EXPECT_EQ(state["eval_steps"], 500);
  EXPECT_FALSE(lines().back().contains("loss"));
}

TEST_F(TrainerLogTest, RestoreDropsWhatCameAfterTheCheckpoint) {
  std::string state;
  {
    TrainerLog log(dir_, facts_, false);
    log.add({.step = 1, .epoch = 0.5, .loss = 3.0});
    state = log.state_json(1, 0.5);
    log.add({.step = 2, .epoch = 1.0, .loss = 2.0});
  }
  TrainerLog log(dir_, facts_, true);
  log.restore(state, 1);

  const auto losses = log.values_of("loss");
  ASSERT_EQ(losses.size(), 1U);
  EXPECT_EQ(losses[0].step, 1);
  EXPECT_EQ(lines().size(), 2U);  // the file of the earlier part is kept
}

TEST_F(TrainerLogTest, AnEvaluationIsALineAndAnEntryOfTheHistory) {
  TrainerLog log(dir_, facts_, false);
  log.add({.step = 2, .epoch = 1.0, .loss = 2.0});
  log.add_evaluation(2, 1.0, {{"eval_loss", 2.5}, {"eval_accuracy", 0.25}, {"eval_runtime", 0.1}});

  const auto line = lines().at(1);
  EXPECT_EQ(line["current_steps"], 2);
  EXPECT_DOUBLE_EQ(line["eval_loss"].get<double>(), 2.5);
  EXPECT_FALSE(line.contains("loss"));
  EXPECT_FALSE(line.contains("eval_runtime"));
  const auto state = Json::parse(log.state_json(2, 1.0));
  EXPECT_EQ(state["log_history"][1],
            Json({{"epoch", 1.0}, {"eval_accuracy", 0.25}, {"eval_loss", 2.5}, {"eval_runtime", 0.1}, {"step", 2}}));
  EXPECT_EQ(log.values_of("eval_loss").size(), 1U);
}

TEST_F(TrainerLogTest, TheBestModelAndThePatienceComeBackFromTheState) {
  facts_.early_stopping_patience = 3;
  TrainerLog log(dir_, facts_, false);
  log.set_best({.metric = 0.5, .global_step = 4, .checkpoint = "x", .evaluations_without_progress = 2});

  const auto best = parse_best_state(log.state_json(4, 2.0), "checkpoint-4");

  EXPECT_EQ(best.metric, 0.5);
  EXPECT_EQ(best.global_step, 4);
  EXPECT_EQ(best.checkpoint, "x");
  EXPECT_EQ(best.evaluations_without_progress, 2);
  EXPECT_FALSE(parse_best_state("", "old").metric.has_value());
  EXPECT_THROW(parse_best_state("[1", "damaged"), IoError);
  EXPECT_THROW(parse_best_state(R"({"best_metric": "x"})", "damaged"), IoError);
}

TEST_F(TrainerLogTest, TensorBoardGetsTheSameNumbersUnderTransformersTags) {
  facts_.tensorboard_dir = dir_ / "runs/now";
  {
    TrainerLog log(dir_, facts_, false);
    log.add({.step = 1, .epoch = 0.5, .loss = 3.0, .grad_norm = 2.0, .learning_rate = 1e-3});
    log.add_evaluation(1, 0.5, {{"eval_loss", 2.5}});
  }

  std::filesystem::directory_iterator files(dir_ / "runs/now");
  const auto text = [&] {
    std::ifstream in(files->path(), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }();
  EXPECT_EQ(files->path().filename().string().rfind("events.out.tfevents.", 0), 0U);
  for (const char* tag : {"train/loss", "train/grad_norm", "train/learning_rate", "train/epoch", "eval/loss"})
    EXPECT_NE(text.find(tag), std::string::npos) << tag;
  EXPECT_EQ(text.find("train/step"), std::string::npos);
}

TEST(FormatDuration, WritesLikePythonsTimedelta) {
  EXPECT_EQ(format_duration(0.9), "0:00:00");
  EXPECT_EQ(format_duration(3661), "1:01:01");
  EXPECT_EQ(format_duration(86400 + 59), "1 day, 0:00:59");
  EXPECT_EQ(format_duration(2 * 86400 + 3600), "2 days, 1:00:00");
}

}  // namespace
}  // namespace dstrain::trainer_log_test
