// SPDX-License-Identifier: Apache-2.0
/// Rules about interfaces, settings and links on made-up facts.
#include <gtest/gtest.h>

#include "cluster/preflight/rules_links.hpp"
#include "made_up_job.hpp"

namespace dstrain {
namespace {

using test::find;
using test::healthy_job;
using test::holds;

constexpr RunNeeds nccl_run{.uses_nccl = true};

void add_docker(JobFacts& job) {
  for (auto& rank : job) {
    if (rank.host_facts) rank.host_facts->interfaces.push_back({"docker0", "172.17.0.1", 16, true, false, 1500});
  }
}

TEST(NetworkRules, AGatewayOnSeveralHostsIsNamedWithTheSubnetToTake) {
  auto job = healthy_job(3, 2);
  add_docker(job);

  const auto findings = check_interfaces(job);

  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].severity, Severity::warning);
  EXPECT_TRUE(holds(findings[0].what, "docker0") && holds(findings[0].what, "172.17.0.1"));
  EXPECT_EQ(findings[0].fix, "OMPI_MCA_btl_tcp_if_include=10.77.0.0/24");
}

TEST(NetworkRules, AGatewayThatIsExcludedOrDownIsFine) {
  auto chosen = healthy_job(2, 1), excluded = healthy_job(2, 1), down = healthy_job(2, 1), shared = healthy_job(2, 1);
  for (auto* job : {&chosen, &excluded, &down, &shared}) add_docker(*job);
  for (auto& rank : chosen) rank.settings["OMPI_MCA_btl_tcp_if_include"] = "10.77.0.0/24";
  for (auto& rank : excluded) rank.settings["OMPI_MCA_btl_tcp_if_exclude"] = "lo,docker0";
  for (auto& rank : down) rank.host_facts->interfaces.back().up = false;
  for (auto& rank : shared) rank.settings["OMPI_MCA_btl"] = "self,vader";

  for (const auto* job : {&chosen, &excluded, &down, &shared}) EXPECT_TRUE(check_interfaces(*job).empty());
}

TEST(NetworkRules, OneHostNeedsNoNetwork) {
  auto job = healthy_job(1, 4);
  add_docker(job);

  EXPECT_TRUE(check_interfaces(job).empty());
}

TEST(NetworkRules, HostsWithoutACommonSubnetAreANote) {
  auto job = healthy_job(2, 1);
  job[1].host_facts->interfaces = {{"ens3", "192.168.5.7", 24, true, false, 1500}};

  const auto f = find(check_interfaces(job), "no-common-subnet");

  ASSERT_NE(f, nullptr);
  EXPECT_EQ(f->severity, Severity::note);
  EXPECT_TRUE(common_subnets(job).empty());
  EXPECT_EQ(common_subnets(healthy_job(3, 1)), (std::vector<std::string>{"10.77.0.0/24", "10.78.0.0/24"}));
}

TEST(NetworkRules, NcclTakesPrefixesExactNamesAndExclusions) {
  EXPECT_TRUE(nccl_takes("eth", "eth1"));
  EXPECT_TRUE(nccl_takes("ib,eth", "eth1"));
  EXPECT_FALSE(nccl_takes("=eth", "eth1"));
  EXPECT_TRUE(nccl_takes("=eth1", "eth1"));
  EXPECT_FALSE(nccl_takes("^docker,lo", "docker0"));
  EXPECT_TRUE(nccl_takes("^docker,lo", "eth0"));
  EXPECT_FALSE(nccl_takes("^=eth0", "eth0"));
  EXPECT_TRUE(nccl_takes("^=eth0", "eth01"));
}

TEST(NetworkRules, AnInterfaceOfNcclThatAHostHasNotIsNamed) {
  auto job = healthy_job(2, 2);
  for (auto& rank : job) rank.settings["NCCL_SOCKET_IFNAME"] = "eno1";
  for (auto& i : job[0].host_facts->interfaces) i.name = i.name == "eth0" ? "eno1" : i.name;

  const auto findings = check_chosen_interfaces(job, nccl_run);

  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].severity, Severity::error);
  EXPECT_EQ(findings[0].where, "node2");
  EXPECT_EQ(check_chosen_interfaces(job, {})[0].severity, Severity::note);
}

TEST(NetworkRules, ACommentInAnInterfaceNameIsSaid) {
  auto job = healthy_job(1, 1);
  job[0].settings["NCCL_SOCKET_IFNAME"] = "eth0 # the fast one";

  EXPECT_TRUE(holds(check_chosen_interfaces(job, nccl_run).at(0).fix, "comment"));
}

TEST(NetworkRules, AnInterfaceThatIsDownIsSaid) {
  auto job = healthy_job(2, 1);
  job[1].host_facts->interfaces[1].up = false;
  for (auto& rank : job) rank.settings = {{"NCCL_SOCKET_IFNAME", "=eth0"}, {"OMPI_MCA_btl_tcp_if_include", "eth0"}};

  const auto findings = check_chosen_interfaces(job, nccl_run);

  EXPECT_TRUE(holds(find(findings, "nccl-interface")->what, "down"));
  EXPECT_EQ(find(findings, "mpi-interface")->where, "node2");
}

TEST(SettingRules, ContradictionsAreNamedWithTheirValues) {
  auto job = healthy_job(2, 1);
  job[1].settings = {{"NCCL_NET", "IB"}, {"NCCL_IB_DISABLE", "1"}};

  const auto findings = check_contradictions(job, nccl_run);

  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].where, "NCCL_NET=IB NCCL_IB_DISABLE=1 on 1@node2");
  EXPECT_EQ(check_contradictions(job, {})[0].severity, Severity::note);
}

TEST(SettingRules, TwoListsOfInterfacesAreOneTooMany) {
  auto job = healthy_job(1, 2);
  for (auto& rank : job)
    rank.settings = {{"OMPI_MCA_btl_tcp_if_include", "eth0"}, {"OMPI_MCA_btl_tcp_if_exclude", "lo"}};

  EXPECT_TRUE(holds(find(check_contradictions(job, {}), "contradiction")->where, "all ranks"));
}

TEST(SettingRules, SettingsThatMustAgreeAreCompared) {
  auto job = healthy_job(2, 2);
  for (auto& rank : job) rank.settings["NCCL_SOCKET_IFNAME"] = rank.node == 0 ? "eth0" : "eth1";
  EXPECT_TRUE(check_agreement(job).empty());  // names may differ from host to host

  job[3].settings["NCCL_PROTO"] = "LL";
  const auto findings = check_agreement(job);

  ASSERT_EQ(findings.size(), 1U);
  EXPECT_TRUE(holds(findings[0].what, "NCCL_PROTO"));
  EXPECT_TRUE(holds(findings[0].where, "\"LL\" on 3@node2")) << findings[0].where;
}

TEST(SettingRules, SocketsBesideInfiniBandAreSaid) {
  auto job = healthy_job(2, 1);
  for (auto& rank : job) rank.settings["NCCL_IB_DISABLE"] = "1";
  EXPECT_EQ(find(check_fabric(job, nccl_run), "sockets-beside-infiniband"), nullptr);

  for (auto& rank : job) rank.host_facts->infiniband = {"mlx5_0"};
  const auto f = find(check_fabric(job, nccl_run), "sockets-beside-infiniband");

  ASSERT_NE(f, nullptr);
  EXPECT_EQ(f->severity, Severity::warning);
  EXPECT_TRUE(holds(f->what, "mlx5_0"));
}

TEST(SettingRules, WhatMpirunSetsForItselfIsNoSetting) {
  EXPECT_TRUE(is_setting("NCCL_DEBUG"));
  EXPECT_TRUE(is_setting("OMPI_MCA_btl_tcp_if_include"));
  EXPECT_FALSE(is_setting("OMPI_MCA_ess_base_vpid"));
  EXPECT_FALSE(is_setting("PATH"));
}

std::vector<LinkMeasurement> links_of(int nodes, double rate) {
  std::vector<LinkMeasurement> links;
  for (const auto& round : link_rounds(nodes)) {
    for (const auto& [a, b] : round) links.push_back({a, b, 30e-6, rate, 8 << 20, 0});
  }
  return links;
}

TEST(LinkRules, EqualLinksAreFine) {
  EXPECT_TRUE(check_links(healthy_job(4, 1), links_of(4, 1e9)).empty());
  EXPECT_TRUE(check_links(healthy_job(2, 1), links_of(2, 1e6)).empty());  // nothing to compare with
}

TEST(LinkRules, ASlowHostIsNamedWithItsInterface) {
  auto links = links_of(4, 1e9);
  for (auto& link : links) {
    if (link.a == 2 || link.b == 2) link.bytes_per_s = 0.1e9;
  }
  auto job = healthy_job(4, 1);
  for (auto& rank : job) rank.settings["OMPI_MCA_btl_tcp_if_include"] = "10.78.0.0/24";

  const auto findings = check_links(job, links);

  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].check, "slow-link");
  EXPECT_EQ(findings[0].where, "eth1 of node3");
  EXPECT_TRUE(holds(findings[0].what, "0.100 GB/s") && holds(findings[0].what, "1.000 GB/s")) << findings[0].what;
}

TEST(LinkRules, ASlowPairIsNamedAsAPair) {
  auto links = links_of(5, 1e9);
  links[3].bytes_per_s = 1e7;

  const auto findings = check_links(healthy_job(5, 1), links);

  ASSERT_EQ(findings.size(), 1U);
  EXPECT_TRUE(holds(findings[0].where, fmt::format("node{} - node{}", links[3].a + 1, links[3].b + 1)));
}

TEST(LinkRules, ALateHostIsNamed) {
  auto links = links_of(4, 1e9);
  for (auto& link : links) {
    if (link.a == 0) link.latency_s = 20e-3;
  }

  EXPECT_NE(find(check_links(healthy_job(4, 1), links), "late-link"), nullptr);
}

TEST(LinkRounds, MeetEveryPairOnceAndNoNodeTwiceInARound) {
  for (const int nodes : {1, 2, 3, 4, 7, 8, 64}) {
    std::vector<std::vector<int>> met(static_cast<std::size_t>(nodes),
                                      std::vector<int>(static_cast<std::size_t>(nodes)));
    const auto rounds = link_rounds(nodes);
    EXPECT_LE(std::ssize(rounds), nodes);
    for (const auto& round : rounds) {
      std::vector<int> seen(static_cast<std::size_t>(nodes), 0);
      for (const auto& [a, b] : round) {
        ASSERT_LT(a, b);
        ASSERT_LT(b, nodes);
        ++met[static_cast<std::size_t>(a)][static_cast<std::size_t>(b)];
        EXPECT_EQ(++seen[static_cast<std::size_t>(a)], 1);
        EXPECT_EQ(++seen[static_cast<std::size_t>(b)], 1);
      }
    }
    for (int a = 0; a < nodes; ++a) {
      for (int b = a + 1; b < nodes; ++b) EXPECT_EQ(met[static_cast<std::size_t>(a)][static_cast<std::size_t>(b)], 1);
    }
  }
}

TEST(LinkRounds, ManyNodesTakeLogarithmicallyManyRounds) {
  const auto rounds = link_rounds(1000);
  EXPECT_EQ(rounds.size(), 20U);  // distances 1, 2, ..., 512, two phases each
  for (const auto& round : rounds) {
    std::vector<int> seen(1000, 0);
    for (const auto& [a, b] : round) {
      EXPECT_EQ(++seen[static_cast<std::size_t>(a)], 1);
      EXPECT_EQ(++seen[static_cast<std::size_t>(b)], 1);
    }
  }
}

}  // namespace
}  // namespace dstrain
