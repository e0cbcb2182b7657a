// SPDX-License-Identifier: Apache-2.0
/// Facts as text, how findings are told, and what ssh's words mean.
#include "cluster/preflight/facts.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "cluster/preflight/ssh_check.hpp"
#include "core/error.hpp"
#include "made_up_job.hpp"

namespace dstrain {
namespace {

using test::healthy_job;
using test::holds;

TEST(Facts, ComeBackFromTheirText) {
  auto facts = healthy_job(1, 1)[0];
  facts.settings = {{"NCCL_SOCKET_IFNAME", "eth0 # \"x\""}};
  facts.host_facts->gpus = {{"GPU-1", "H100", 80, 79}};
  facts.host_facts->infiniband = {"mlx5_0"};

  EXPECT_EQ(parse_facts(to_text(facts)), facts);
}

TEST(Facts, StayBoundedAndReadableWhateverIsInTheEnvironment) {
  auto facts = healthy_job(1, 1)[0];
  for (int i = 0; i < 1000; ++i) facts.settings[fmt::format("NCCL_{}", i)] = std::string(200, '\xff');
  facts.host =
      "bad\xfe"
      "name";

  const auto text = to_text(facts);

  EXPECT_LE(text.size(), facts_limit);
  EXPECT_EQ(parse_facts(text).rank, 0);
}

TEST(Facts, OfThisProcessAreThere) {
  Topology topology;
  topology.hosts = {"here"};

  const auto facts = gather_facts(topology, "cpu", 3, {.gpus = false, .digest = true});

  EXPECT_EQ(facts.build.substr(0, 5) == "size-", false) << facts.build;
  EXPECT_EQ(facts.binary.size(), 64U);
  EXPECT_TRUE(holds(facts.mpi, "MPI")) << facts.mpi;
  EXPECT_EQ(facts.hdf5.substr(0, 2), "1.");
  EXPECT_GT(facts.nofile, 0);
  ASSERT_TRUE(facts.host_facts.has_value());
  EXPECT_GT(facts.host_facts->available_bytes, 0);
  EXPECT_FALSE(facts.host_facts->interfaces.empty());
}

TEST(Facts, OfAnotherBuildAreAnErrorNotACrash) {
  EXPECT_THROW(static_cast<void>(parse_facts("{}")), CommError);
  EXPECT_THROW(static_cast<void>(parse_facts("[1,2")), CommError);
}

TEST(Findings, TheFirstErrorIsThrownAndTheOthersFollow) {
  const Findings findings = {{Severity::note, "a", "a note", {}, {}},
                             {Severity::error, "b", "first", "node1", "do this"},
                             {Severity::error, "c", "second", "node2", "do that"}};
  try {
    report_findings(findings);
    FAIL();
  } catch (const RefusedError& error) {
    EXPECT_EQ(std::string(error.what()), "first");
    EXPECT_EQ(error.where(), "node1");
    EXPECT_EQ(error.hint(), "do this\n  and: second (node2); do that");
  }
}

TEST(Findings, ManyNamesAreCutShort) { EXPECT_EQ(list_names({"a", "b", "c", "d", "e", "f"}), "a, b, c, d and 2 more"); }

TEST(Ssh, ItsWordsAreQuotedAndExplained) {
  const auto findings = check_ssh({{"a", true, 0.1, ""},
                                   {"b", false, 0.1, "ssh: connect to host b port 22: Connection refused"},
                                   {"c", false, 0.1, "root@c: Permission denied (publickey)."}});

  ASSERT_EQ(findings.size(), 2U);
  EXPECT_TRUE(holds(findings[0].what, "Connection refused") && holds(findings[0].fix, "sshd"));
  EXPECT_TRUE(holds(findings[1].fix, "ssh-copy-id"));
}

class SshAgent : public testing::Test {
 protected:
  std::string agent(const std::string& script) {
    const auto path = std::filesystem::path(DSTRAIN_TEST_TMP) / "pretended-ssh";
    std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path.string();
  }
};

TEST_F(SshAgent, EveryHostIsAskedAndTheLastLineKept) {
  const auto answers = ask_hosts({"good", "bad", "-oProxyCommand=x"},
                                 agent("[ $1 = good ] && [ $2 = hostname ] || { echo one; echo two >&2; exit 255; }"));

  ASSERT_EQ(answers.size(), 3U);
  EXPECT_TRUE(answers[0].good);
  EXPECT_FALSE(answers[1].good);
  EXPECT_EQ(answers[1].words, "two");
  EXPECT_EQ(answers[2].words, "not a host name");
}

TEST_F(SshAgent, AHostThatNeverAnswersIsGivenUp) {
  const auto start = std::chrono::steady_clock::now();
  const auto answers = ask_hosts({"slow", "slow"}, agent("exec sleep 60"), 1);

  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(7));
  EXPECT_TRUE(holds(answers.at(1).words, "no answer in 1 s"));
}

TEST_F(SshAgent, AProgramThatIsNotThereIsSaid) {
  EXPECT_TRUE(holds(ask_hosts({"a"}, "/nowhere/ssh").at(0).words, "No such file"));
}

}  // namespace
}  // namespace dstrain
