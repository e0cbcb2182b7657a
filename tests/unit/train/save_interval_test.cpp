// SPDX-License-Identifier: Apache-2.0
#include "train/save_interval.hpp"

#include <gtest/gtest.h>

namespace dstrain::save_interval_test {
namespace {

TEST(SaveInterval, IsYoungsWhereTrainingWaits) {
  // sqrt(2 * 60 s * 86,400 s) = 3,220 s
  EXPECT_EQ(best_save_steps(60.0, 10.0, false, 1), 322);
  // Sixteen nodes fail sixteen times as often: a quarter of the time.
  EXPECT_EQ(best_save_steps(60.0, 10.0, false, 16), 81);
}

TEST(SaveInterval, NeverAsksForMoreThanATenthOfTheDisk) {
  EXPECT_GE(best_save_steps(36000.0, 1.0, true, 1), 360000);
  EXPECT_EQ(best_save_steps(0.0, 1.0, true, 1), 1);
}

TEST(CheckpointLag, IsATenthOfTheIntervalUnlessItIsSet) {
  EXPECT_EQ(checkpoint_lag({}, 9), 0);
  EXPECT_EQ(checkpoint_lag({}, 10), 1);
  EXPECT_EQ(checkpoint_lag({}, 500), 50);
  EXPECT_EQ(checkpoint_lag(3, 500), 3);
  EXPECT_EQ(checkpoint_lag(0, 500), 0);
}

}  // namespace
}  // namespace dstrain::save_interval_test
