// SPDX-License-Identifier: Apache-2.0
#include "train/trainer_log.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace dstrain {
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
  log.finish(4, {.epoch = 2.0, .total_flos = 1e9, .train_loss = 1.5, .train_runtime_s = 2.0});

  EXPECT_DOUBLE_EQ(read("all_results.json")["train_loss"].get<double>(), 1.5);
  const auto state = read("trainer_state.json");
  EXPECT_EQ(state["global_step"], 4);
  EXPECT_EQ(state["log_history"].size(), 2U);
  EXPECT_EQ(state["log_history"][0]["step"], 4);
  EXPECT_DOUBLE_EQ(state["log_history"][1]["train_loss"].get<double>(), 1.5);
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

  ASSERT_EQ(log.losses().size(), 1U);
  EXPECT_EQ(log.losses()[0].first, 1);
  EXPECT_EQ(lines().size(), 2U);  // the file of the earlier part is kept
}

TEST(FormatDuration, WritesLikePythonsTimedelta) {
  EXPECT_EQ(format_duration(0.9), "0:00:00");
  EXPECT_EQ(format_duration(3661), "1:01:01");
  EXPECT_EQ(format_duration(86400 + 59), "1 day, 0:00:59");
  EXPECT_EQ(format_duration(2 * 86400 + 3600), "2 days, 1:00:00");
}

}  // namespace
}  // namespace dstrain
