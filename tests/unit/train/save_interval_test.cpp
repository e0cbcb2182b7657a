// SPDX-License-Identifier: Apache-2.0
#include "train/save_interval.hpp"

#include <gtest/gtest.h>

namespace dstrain {
namespace {

TEST(SaveInterval, IsYoungsWhereTrainingWaits) {
  // sqrt(2 * 60 s * 86,400 s) = 3,220 s
  EXPECT_EQ(best_save_steps(60.0, 10.0, false, 1), 322);
  // Sixteen nodes fail sixteen times as often: a quarter of the time.
  EXPECT_EQ(best_save_steps(60.0, 10.0, false, 16), 81);
}

TEST(SaveInterval, NeverAsksForMoreThanHalfOfTheDisk) {
  EXPECT_GE(best_save_steps(36000.0, 1.0, true, 1), 72000);
  EXPECT_EQ(best_save_steps(0.0, 1.0, true, 1), 1);
}

}  // namespace
}  // namespace dstrain
