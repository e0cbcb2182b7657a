// SPDX-License-Identifier: Apache-2.0
/// Every rule on facts that are wrong in one place; and nothing said where nothing is wrong.
#include "cluster/preflight/rules.hpp"

#include <gtest/gtest.h>

#include "made_up_job.hpp"

namespace dstrain {
namespace {

using test::find;
using test::healthy_job;
using test::holds;

constexpr RunNeeds with_nccl{.uses_nccl = true, .shared_memory_bytes = 4 << 20, .device_bytes = 0};

TEST(Rules, SayNothingAboutHealthyJobs) {
  for (const int nodes : {1, 2, 5}) {
    for (const int ranks : {1, 4}) EXPECT_TRUE(check_all(healthy_job(nodes, ranks), with_nccl).empty()) << nodes;
  }
}

TEST(Rules, AnotherBuildOnOneHostIsRefused) {
  auto job = healthy_job(3, 2);
  job[4].build = "ffffffffffffffff";

  const auto findings = check_all(job, {});

  const auto f = find(findings, "binary");
  ASSERT_NE(f, nullptr);
  EXPECT_EQ(f->severity, Severity::error);
  EXPECT_TRUE(holds(f->where, "ffffffffffff on 4@node3")) << f->where;
}

TEST(Rules, EqualBuildsWithDifferentFilesAreRefused) {
  auto job = healthy_job(2, 1);
  job[0].binary = std::string(64, 'a');
  job[1].binary = std::string(64, 'b');

  EXPECT_NE(find(check_binaries(job), "binary"), nullptr);
}

TEST(Rules, LibrariesOfOtherVersionsAreNamedWithTheirHosts) {
  auto job = healthy_job(3, 1);
  job[2].hdf5 = "1.12.0";
  job[1].mpi = "Open MPI v5.0.2";
  job[0].libraries = "CUDA 13.0, NCCL 2.28.9";  // the third is not on a GPU
  job[1].libraries = "CUDA 12.8, NCCL 2.26.2";

  const auto findings = check_libraries(job);

  ASSERT_NE(find(findings, "hdf5-version"), nullptr);
  EXPECT_TRUE(holds(find(findings, "hdf5-version")->where, "1.12.0 on 2@node3"));
  EXPECT_TRUE(holds(find(findings, "mpi-version")->where, "v5.0.2 on 1@node2"));
  EXPECT_TRUE(holds(find(findings, "cuda-version")->where, "NCCL 2.26.2 on 1@node2"));
  EXPECT_EQ(find(findings, "driver-version"), nullptr);
}

TEST(Rules, OneProcessInAJobOfSeveralTasksIsSaid) {
  const LauncherVariables batch{.launcher = "Slurm", .rank = 0, .world_size = 8, .connects_mpi = false};

  EXPECT_TRUE(holds(check_launcher(batch, 1).at(0).what, "8 tasks"));
  EXPECT_TRUE(check_launcher(batch, 8).empty());
  EXPECT_TRUE(check_launcher({}, 1).empty());
}

TEST(Rules, HostsOfOneNameAreSaid) {
  auto job = healthy_job(2, 2);
  for (auto& rank : job) rank.host = "localhost";

  EXPECT_NE(find(check_all(job, {}), "host-name"), nullptr);
}

TEST(Rules, TwoRanksOnOneGpuAreRefusedOnOneHostOnly) {
  auto job = healthy_job(2, 2);
  for (auto& rank : job) rank.device = fmt::format("GPU-{}", rank.local_rank);
  EXPECT_TRUE(check_device_per_rank(job).empty());  // the same number on two hosts is another GPU

  job[3].device = job[2].device;
  const auto findings = check_device_per_rank(job);

  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].severity, Severity::error);
  EXPECT_EQ(findings[0].where, "2@node2, 3@node2");
  EXPECT_EQ(find(check_all(job, {.shares_gpus = true}), "two-ranks-one-gpu"), nullptr);  // a person wants it so
}

TEST(Rules, APlanThatAGpuCannotHoldIsRefusedWithBothNumbers) {
  auto job = healthy_job(2, 1);
  for (auto& rank : job) {
    rank.device = "GPU-x";
    rank.host_facts->gpus = {{"GPU-x", "H100", std::int64_t{80} << 30, std::int64_t{79} << 30}};
  }
  job[1].host_facts->gpus[0].free_bytes = std::int64_t{10} << 30;

  const auto findings = check_gpus(job, {.device_bytes = std::int64_t{40} << 30});

  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].where, "1@node2");
  EXPECT_TRUE(holds(findings[0].what, "40.0 GiB") && holds(findings[0].what, "10.0 GiB")) << findings[0].what;
}

TEST(Rules, GpusOfTwoKindsAreSaid) {
  auto job = healthy_job(2, 1);
  job[0].host_facts->gpus = {{"a", "H100", 1, 1}};
  job[1].host_facts->gpus = {{"b", "A100", 1, 1}};

  EXPECT_TRUE(holds(find(check_gpus(job, {}), "gpu-models")->where, "A100 on node2"));
}

TEST(Rules, MoreThreadsThanCoresAreSaidOnceWithTheHosts) {
  auto job = healthy_job(3, 2);
  for (auto& rank : job) rank.cores = {0, 1};

  const auto findings = check_threads(job);

  ASSERT_EQ(findings.size(), 1U);
  EXPECT_TRUE(holds(findings[0].what, "4 threads share 2 cores")) << findings[0].what;
  EXPECT_EQ(findings[0].where, "node1, node2, node3");
}

TEST(Rules, LittleSharedMemoryIsSaidWhereRanksShareAHost) {
  auto job = healthy_job(2, 2);
  job[2].host_facts->shared_memory_bytes = 1 << 20;

  EXPECT_EQ(find(check_shared_memory(job, with_nccl), "shared-memory")->where, "node2");
  EXPECT_TRUE(check_shared_memory(job, {}).empty());
}

TEST(Rules, MemlockMattersWhereInfiniBandIs) {
  auto job = healthy_job(2, 1);
  job[1].memlock = 64 << 10;
  EXPECT_EQ(find(check_limits(job), "memlock")->severity, Severity::note);

  job[1].host_facts->infiniband = {"mlx5_0"};
  const auto findings = check_limits(job);

  ASSERT_NE(find(findings, "memlock"), nullptr);
  EXPECT_EQ(find(findings, "memlock")->severity, Severity::warning);
  EXPECT_EQ(find(findings, "memlock")->where, "node2");
  EXPECT_TRUE(holds(find(findings, "memlock")->what, "64.0 KiB"));
}

TEST(Rules, FewOpenFilesAreSaidForLargeJobs) {
  auto job = healthy_job(8, 8);
  for (auto& rank : job) rank.nofile = 256;

  EXPECT_NE(find(check_limits(job), "open-files"), nullptr);
}

TEST(Rules, AClockOffByAnHourIsNamedAndHalfAMinuteIsNot) {
  auto job = healthy_job(4, 1);
  job[2].clock_s -= 3600;
  const auto findings = check_clocks(job);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].where, "node3 is 60 min behind");

  job[2].clock_s = job[0].clock_s + 29;
  EXPECT_TRUE(check_clocks(job).empty());
}

TEST(Rules, OfTwoHostsOneIsNamedWhenTheClocksDiffer) {
  auto job = healthy_job(2, 1);
  job[1].clock_s += 7200;

  EXPECT_EQ(check_clocks(job).at(0).where, "node2 is 2.0 h ahead");
}

}  // namespace
}  // namespace dstrain
