// SPDX-License-Identifier: Apache-2.0
/// Which evaluation is the best, and when early stopping stops.
#include "train/best_model.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace dstrain::best_model_test {
namespace {

RunConfig asking_for(const std::string& metric, std::optional<int> patience = {}) {
  RunConfig config;
  if (!metric.empty()) config.metric_for_best_model = metric;
  config.early_stopping_steps = patience;
  return config;
}

TEST(BestModel, NobodyAsked) {
  BestModel best{RunConfig{}};
  EXPECT_FALSE(best.observe({{"eval_loss", 1.0}}, 4));
  EXPECT_FALSE(best.state().metric.has_value());
}

TEST(BestModel, ASmallerLossAndALargerAccuracyAreBetter) {
  BestModel loss{asking_for("loss")};
  EXPECT_TRUE(loss.observe({{"eval_loss", 2.0}}, 1));
  EXPECT_FALSE(loss.observe({{"eval_loss", 2.0}}, 2));  // as good is not better
  EXPECT_TRUE(loss.observe({{"eval_loss", 1.5}}, 3));
  EXPECT_EQ(loss.state().global_step, 3);

  BestModel accuracy{asking_for("eval_accuracy")};
  EXPECT_TRUE(accuracy.observe({{"eval_accuracy", 0.1}}, 1));
  EXPECT_TRUE(accuracy.observe({{"eval_accuracy", 0.2}}, 2));
  EXPECT_FALSE(accuracy.observe({{"eval_accuracy", 0.15}}, 3));
  EXPECT_EQ(accuracy.state().metric, 0.2);

  auto reversed = asking_for("loss");
  reversed.greater_is_better = true;
  BestModel greatest{reversed};
  EXPECT_TRUE(greatest.observe({{"eval_loss", 1.0}}, 1));
  EXPECT_TRUE(greatest.observe({{"eval_loss", 2.0}}, 2));
}

TEST(BestModel, StopsAfterPatienceEvaluationsWithoutProgress) {
  BestModel best{asking_for("", 2)};  // no metric named: the loss
  for (const auto& [value, stops] :
       {std::pair{3.0, false}, {2.0, false}, {2.5, false}, {1.0, false}, {1.0, false}, {1.2, true}}) {
    best.observe({{"eval_loss", value}}, 1);
    EXPECT_EQ(best.should_stop(), stops) << value;
  }
}

TEST(BestModel, OnlyACheckpointOfTheBestStepIsTheBestCheckpoint) {
  BestModel best{asking_for("loss")};
  best.observe({{"eval_loss", 2.0}}, 4);
  best.saving(4, "checkpoint-4");
  best.observe({{"eval_loss", 3.0}}, 8);
  best.saving(8, "checkpoint-8");
  EXPECT_EQ(best.state().checkpoint, "checkpoint-4");
}

TEST(BestModel, AMetricThatTheEvaluationDoesNotGiveIsAnError) {
  BestModel best{asking_for("rouge-l")};
  try {
    best.observe({{"eval_loss", 2.0}}, 1);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("eval_rouge-l"), std::string::npos);
    EXPECT_NE(error.hint().find("eval_loss"), std::string::npos);
  }
}

}  // namespace
}  // namespace dstrain::best_model_test
