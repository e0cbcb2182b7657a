// SPDX-License-Identifier: Apache-2.0
/// Preflight's collective parts on real ranks.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "cluster/preflight/preflight.hpp"
#include "comm/agreed_error.hpp"
#include "comm/first_contact.hpp"
#include "comm/link_test.hpp"
#include "comm/mpi_communicator.hpp"

namespace dstrain {
namespace {

class Ranks : public testing::Test {
 protected:
  /// As if every rank had a host of its own.
  [[nodiscard]] Topology own_hosts() const {
    Topology t = discover_topology();
    t.node_count = t.world_size;
    t.node = t.rank;
    t.local_rank = 0;
    t.local_size = 1;
    for (int r = 0; r < t.world_size; ++r) {
      t.node_of_rank[static_cast<std::size_t>(r)] = r;
      t.hosts[static_cast<std::size_t>(r)] = fmt::format("host{}", r);
    }
    return t;
  }
  std::unique_ptr<Communicator> world_ = make_world_communicator();
};

TEST_F(Ranks, MeetAgainAndAgainInNoTime) {
  meet_all_ranks(20);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 10; ++i) meet_all_ranks(20);
  // 10 ms each would be far too slow; ranks may share a busy core here.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
}

TEST_F(Ranks, KnowEachOthersFacts) {
  const auto topology = discover_topology();

  const auto job = gather_job_facts(*world_, gather_facts(topology, "cpu", 1, {}));

  ASSERT_EQ(std::ssize(job), topology.world_size);
  for (int r = 0; r < topology.world_size; ++r) EXPECT_EQ(job[static_cast<std::size_t>(r)].rank, r);
  EXPECT_TRUE(job[0].host_facts.has_value());
  EXPECT_TRUE(check_clocks(job).empty());
  EXPECT_TRUE(check_binaries(job).empty());
}

TEST_F(Ranks, AnErrorIsThrownOnAllOfThem) {
  const auto topology = discover_topology();
  if (topology.world_size == 1) GTEST_SKIP() << "two ranks are needed to share a device";

  EXPECT_THROW(preflight(*world_, topology, "GPU-the-same-for-all", 1, {}), AgreedError);
}

TEST_F(Ranks, SeeASharedFolderAndTheProbeIsGoneAfterwards) {
  const auto folder = std::filesystem::path(DSTRAIN_TEST_TMP) / "preflight-shared";
  std::filesystem::create_directories(folder);

  EXPECT_TRUE(check_output(*world_, own_hosts(), {.folder = folder, .bytes = 1000, .every_host_writes = true}).empty());
  world_->barrier("test");
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST_F(Ranks, MissAFolderThatIsTheirOwn) {
  const auto topology = own_hosts();
  if (topology.world_size == 1) GTEST_SKIP() << "two hosts are needed";
  // /proc/self is another folder for every process: what one rank writes below its own name no other sees.
  const auto folder = std::filesystem::path(DSTRAIN_TEST_TMP) / fmt::format("preflight-own-{}", topology.rank);
  std::filesystem::create_directories(folder);
  const auto link = std::filesystem::path("/proc/self/cwd/preflight-own");
  std::filesystem::current_path(folder);
  std::filesystem::create_directories("preflight-own");

  const auto findings = check_output(*world_, topology, {.folder = link, .bytes = 0, .every_host_writes = true});

  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].severity, Severity::error);
  EXPECT_NE(findings[0].what.find("host1"), std::string::npos) << findings[0].what;
}

TEST_F(Ranks, ACheckpointWithoutRoomIsSaidWithBothNumbers) {
  const auto folder = std::filesystem::path(DSTRAIN_TEST_TMP) / "preflight-shared";
  std::filesystem::create_directories(folder);

  const auto findings = check_output(*world_, discover_topology(),
                                     {.folder = folder, .bytes = std::int64_t{1} << 60, .every_host_writes = true});

  if (world_->rank() == 0) {
    ASSERT_EQ(findings.size(), 1U);
    EXPECT_NE(findings[0].what.find("1.00 EiB"), std::string::npos) << findings[0].what;
  }
}

TEST_F(Ranks, MeasureEveryLink) {
  const auto topology = own_hosts();

  const auto links = measure_links(topology);

  ASSERT_EQ(std::ssize(links), topology.world_size * (topology.world_size - 1) / 2);
  for (const auto& link : links) {
    EXPECT_LT(link.a, link.b);
    EXPECT_GT(link.latency_s, 0);
    EXPECT_LT(link.latency_s, 5);
    EXPECT_GT(link.bytes_per_s, 1e5);
    EXPECT_LT(std::abs(link.clock_ahead_s), 1);  // one clock
  }
}

}  // namespace
}  // namespace dstrain
