// SPDX-License-Identifier: Apache-2.0
#include "train/schedule.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace dstrain {
namespace {

// Values of transformers 4.52.4's get_scheduler for 10 steps, 2 of warm-up (multipliers of the learning rate).
TEST(Schedule, LinearRisesFromZeroAndFallsToZero) {
  const Schedule s("linear", 2, 10);
  EXPECT_DOUBLE_EQ(s.multiplier(0), 0.0);
  EXPECT_DOUBLE_EQ(s.multiplier(1), 0.5);
  EXPECT_DOUBLE_EQ(s.multiplier(2), 1.0);
  EXPECT_DOUBLE_EQ(s.multiplier(6), 0.5);
  EXPECT_DOUBLE_EQ(s.multiplier(10), 0.0);
  EXPECT_DOUBLE_EQ(s.multiplier(11), 0.0);
}

TEST(Schedule, CosineIsHalfAWave) {
  const Schedule s("cosine", 2, 10);
  EXPECT_DOUBLE_EQ(s.multiplier(1), 0.5);
  EXPECT_DOUBLE_EQ(s.multiplier(2), 1.0);
  EXPECT_NEAR(s.multiplier(6), 0.5, 1e-15);
  EXPECT_NEAR(s.multiplier(4), 0.8535533905932737, 1e-15);
  EXPECT_NEAR(s.multiplier(10), 0.0, 1e-15);
}

TEST(Schedule, ConstantIgnoresWarmupAndConstantWithWarmupDoesNot) {
  EXPECT_DOUBLE_EQ(Schedule("constant", 5, 10).multiplier(0), 1.0);
  EXPECT_DOUBLE_EQ(Schedule("constant_with_warmup", 4, 10).multiplier(0), 0.0);
  EXPECT_DOUBLE_EQ(Schedule("constant_with_warmup", 4, 10).multiplier(3), 0.75);
  EXPECT_DOUBLE_EQ(Schedule("constant_with_warmup", 4, 10).multiplier(9), 1.0);
}

TEST(Schedule, UnknownTypeNamesWhatRuns) {
  try {
    Schedule("cosin", 0, 1);
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("cosin"), std::string::npos);
    EXPECT_NE(error.hint().find("cosine"), std::string::npos);
  }
}

TEST(Schedule, WarmupStepsWinOverRatioAndRatioIsRoundedUp) {
  EXPECT_EQ(resolve_warmup(7, 0.5, 100), 7);
  EXPECT_EQ(resolve_warmup(0, 0.1, 24), 3);
  EXPECT_EQ(resolve_warmup(0, 0.0, 24), 0);
}

}  // namespace
}  // namespace dstrain
