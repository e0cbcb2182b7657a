// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "comm/topology.hpp"

namespace dstrain {
namespace {

TEST(ThreadsFor, DividesSharedCores) {
  const std::vector<int> all = {0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(threads_for({all}, 0, 0), 8);
  EXPECT_EQ(threads_for({all, all}, 1, 0), 4);
  EXPECT_EQ(threads_for({all, all, all}, 2, 0), 2);
}

TEST(ThreadsFor, KeepsWhatALauncherBound) {
  EXPECT_EQ(threads_for({{0, 1}, {2, 3, 4}}, 0, 0), 2);
  EXPECT_EQ(threads_for({{0, 1}, {2, 3, 4}}, 1, 0), 3);
  EXPECT_EQ(threads_for({{0, 1}, {1, 2}}, 0, 0), 1);
}

TEST(ThreadsFor, NeverFallsBelowOne) {
  EXPECT_EQ(threads_for({{0}, {0}, {0}}, 1, 0), 1);
  EXPECT_EQ(threads_for({{0, 1, 2, 3}}, 0, 0.5), 1);
}

TEST(ThreadsFor, StaysWithinAContainersQuota) {
  std::vector<int> many(64);
  for (int i = 0; i < 64; ++i) many[static_cast<std::size_t>(i)] = i;
  EXPECT_EQ(threads_for({many, many}, 0, 4.0), 2);
}

TEST(ThreadsFor, ThirdsAddUp) {
  const std::vector<int> three = {0, 1, 2};
  EXPECT_EQ(threads_for({three, three, three}, 0, 0), 1);
  const std::vector<int> six = {0, 1, 2, 3, 4, 5};
  EXPECT_EQ(threads_for({six, six, six}, 0, 0), 2);
}

TEST(AllowedCores, HasOneAtLeast) { EXPECT_GE(allowed_cores().size(), 1U); }

}  // namespace
}  // namespace dstrain
