// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "comm/threads.hpp"
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

ThreadChoice choose(std::map<std::string, std::string> variables, int share, int cores) {
  return choose_threads(
      [&](const char* name) {
        const auto at = variables.find(name);
        return at == variables.end() ? nullptr : at->second.c_str();
      },
      share, cores);
}

TEST(ChooseThreads, TheUsersNumberWins) {
  const auto choice = choose({{"OMP_NUM_THREADS", "3"}, {"SLURM_CPUS_PER_TASK", "8"}}, 2, 4);

  EXPECT_EQ(choice.threads, 3);
  EXPECT_EQ(choice.from, "OMP_NUM_THREADS");
  EXPECT_EQ(choose({{"OMP_NUM_THREADS", "6,2"}}, 2, 4).threads, 6) << "the first level of a list";
}

TEST(ChooseThreads, ThenSlurmsWithinTheBinding) {
  EXPECT_EQ(choose({{"SLURM_CPUS_PER_TASK", "8"}}, 2, 16).threads, 8);
  EXPECT_EQ(choose({{"SLURM_CPUS_PER_TASK", "8"}}, 1, 1).threads, 1);
  EXPECT_EQ(choose({{"SLURM_CPUS_PER_TASK", "8"}}, 2, 16).from, "SLURM_CPUS_PER_TASK");
}

TEST(ChooseThreads, ElseTheShare) {
  for (const char* nonsense : {"", "0", "-2", "many", "4x", "99999999999"}) {
    const auto choice = choose({{"OMP_NUM_THREADS", nonsense}, {"SLURM_CPUS_PER_TASK", nonsense}}, 5, 10);
    EXPECT_EQ(choice.threads, 5) << nonsense;
    EXPECT_EQ(choice.from, "cores / ranks of the node");
  }
}

TEST(BoundBeside, TwoRanksOnOneCoreAreSeen) {
  EXPECT_EQ(bound_beside({{0}, {1}, {0}}, 0, 4), 2);
  EXPECT_EQ(bound_beside({{0}, {1}, {0}}, 2, 4), 0);
  EXPECT_EQ(bound_beside({{0}, {1}, {0}}, 1, 4), -1);
  EXPECT_EQ(bound_beside({{0, 1}, {0, 1}, {0, 1}}, 1, 4), 0) << "three ranks on two cores";
}

TEST(BoundBeside, SharedCoresThatSufficeAreGood) {
  EXPECT_EQ(bound_beside({{0, 1}, {0, 1}}, 0, 4), -1);
  EXPECT_EQ(bound_beside({{0, 1}, {0, 1}, {0, 1}}, 0, 2), -1) << "nobody is bound: more ranks than cores";
}

TEST(RangesText, JoinsNeighbours) {
  EXPECT_EQ(ranges_text({0, 1, 2, 3, 8, 10, 11}), "0-3,8,10-11");
  EXPECT_EQ(ranges_text({5}), "5");
  EXPECT_EQ(ranges_text({}), "");
}

}  // namespace
}  // namespace dstrain
