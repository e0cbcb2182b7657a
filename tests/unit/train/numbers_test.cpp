// SPDX-License-Identifier: Apache-2.0
/// The arithmetic behind reports of numbers gone wrong.
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "train/loss_watch.hpp"
#include "train/nonfinite_search.hpp"
#include "train/replicas.hpp"

namespace dstrain::numbers_test {
namespace {

TEST(LossWatch, ReportsASpikeAgainstTheRunningMean) {
  LossWatch watch(3.0);
  for (int i = 0; i < 40; ++i) EXPECT_FALSE(watch.observe(2.0));

  EXPECT_FALSE(watch.observe(5.9));
  const auto mean = watch.observe(9.0);

  ASSERT_TRUE(mean);
  EXPECT_NEAR(*mean, 2.0, 0.15);
}

TEST(LossWatch, IsQuietAtTheStartAndAfterAReport) {
  LossWatch watch(3.0);
  EXPECT_FALSE(watch.observe(1.0));
  EXPECT_FALSE(watch.observe(100.0)) << "no mean to speak of yet";
  for (int i = 0; i < 200; ++i) watch.observe(1.0);
  ASSERT_TRUE(watch.observe(10.0));
  for (int i = 0; i < 9; ++i) EXPECT_FALSE(watch.observe(50.0)) << i;
}

TEST(LossWatch, LeavesOutWhatIsNotFiniteAndCanBeOff) {
  LossWatch watch(2.0), off(0.0);
  for (int i = 0; i < 30; ++i) {
    watch.observe(1.0);
    off.observe(1.0);
  }
  EXPECT_FALSE(watch.observe(std::numeric_limits<double>::infinity()));
  EXPECT_FALSE(watch.observe(std::numeric_limits<double>::quiet_NaN()));
  EXPECT_TRUE(watch.observe(3.0));
  EXPECT_FALSE(off.observe(1000.0));
}

TEST(OddRanks, AreThoseOutsideTheMajority) {
  EXPECT_TRUE(find_odd_ranks({"a", "a", "a"}).ranks.empty());
  const auto one = find_odd_ranks({"a", "a", "b", "a"});
  EXPECT_TRUE(one.majority);
  EXPECT_EQ(one.ranks, std::vector<int>{2});
  const auto two = find_odd_ranks({"a", "c", "b", "a", "a"});
  EXPECT_TRUE(two.majority);
  EXPECT_EQ(two.ranks, (std::vector<int>{1, 2}));
}

TEST(OddRanks, AreAllWhereNoMajorityAgrees) {
  const auto halves = find_odd_ranks({"a", "b"});
  EXPECT_FALSE(halves.majority);
  EXPECT_EQ(halves.ranks, (std::vector<int>{0, 1}));
  EXPECT_EQ(find_odd_ranks({"a", "b", "a", "b"}).ranks.size(), 4U);
}

TEST(FirstNonfinite, KnowsTheExponentsOfEveryDtype) {
  std::vector<float> f32 = {1.0F, -std::numeric_limits<float>::max(), 0.0F, -std::numeric_limits<float>::infinity()};
  EXPECT_EQ(first_nonfinite({f32.data(), DType::f32}, 3), -1);
  EXPECT_EQ(first_nonfinite({f32.data(), DType::f32}, 4), 3);
  const std::vector<std::uint16_t> bf16 = {0x3F80, 0x7F7F, 0x8000, 0x7FC0};  // 1, largest, -0, nan
  EXPECT_EQ(first_nonfinite({bf16.data(), DType::bf16}, 3), -1);
  EXPECT_EQ(first_nonfinite({bf16.data(), DType::bf16}, 4), 3);
  const std::vector<std::uint16_t> f16 = {0x3C00, 0x7BFF, 0xFC00};  // 1, 65504, -infinity
  EXPECT_EQ(first_nonfinite({f16.data(), DType::f16}, 2), -1);
  EXPECT_EQ(first_nonfinite({f16.data(), DType::f16}, 3), 2);
}

}  // namespace
}  // namespace dstrain::numbers_test
