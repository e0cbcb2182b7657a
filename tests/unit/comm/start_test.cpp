// SPDX-License-Identifier: Apache-2.0
/// What is known before the first collective: launchers' variables, interfaces, and how silence is explained.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>

#include "comm/launcher.hpp"
#include "comm/network_interfaces.hpp"
#include "comm/reachability.hpp"
#include "comm/silence.hpp"
#include "core/build_id.hpp"
#include "core/error.hpp"

namespace dstrain {
namespace {

LauncherVariables variables(std::map<std::string, std::string> environment) {
  return read_launcher_variables([&](const char* name) {
    const auto it = environment.find(name);
    return it == environment.end() ? nullptr : it->second.c_str();
  });
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string refusal(const LauncherVariables& launcher) {
  try {
    refuse_lone_ranks(launcher);
  } catch (const RefusedError& error) {
    return error.what() + std::string(" | ") + error.hint();
  }
  return "accepted";
}

TEST(Launcher, MpirunAndPmixConnect) {
  EXPECT_EQ(refusal(variables({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"PMIX_RANK", "1"}})),
            "accepted");
  const auto srun =
      variables({{"SLURM_PROCID", "3"}, {"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_STEP_ID", "0"}, {"PMIX_RANK", "3"}});
  EXPECT_EQ(srun.launcher, "srun");
  EXPECT_EQ(srun.rank, 3);
  EXPECT_EQ(refusal(srun), "accepted");
}

TEST(Launcher, SrunWithoutPmiIsRefusedOnce) {
  const std::map<std::string, std::string> step = {
      {"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_STEP_ID", "0"}};
  EXPECT_TRUE(holds(refusal(variables(step)), "srun started 8 processes")) << refusal(variables(step));
  EXPECT_TRUE(holds(refusal(variables(step)), "--mpi=pmix"));

  auto other = step;
  other["SLURM_PROCID"] = "5";
  EXPECT_EQ(refusal(variables(other)), " | ");
}

TEST(Launcher, ABatchScriptMayRunOneProcess) {
  // Slurm sets SLURM_PROCID=0 there, too; mpirun inside it brings its own variables.
  const std::map<std::string, std::string> batch = {
      {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_JOB_ID", "7"}};
  EXPECT_EQ(refusal(variables(batch)), "accepted");
  EXPECT_EQ(variables(batch).launcher, "Slurm");
}

TEST(Launcher, TorchrunAloneIsRefused) {
  const auto torchrun = variables({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "10.0.0.1"}});
  EXPECT_TRUE(holds(refusal(torchrun), "dstrain launch"));
  EXPECT_EQ(refusal(variables({{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"MASTER_ADDR", "10.0.0.1"}})), "accepted");
  EXPECT_EQ(refusal(variables({{"RANK", "x"}, {"WORLD_SIZE", "-2"}, {"MASTER_ADDR", ""}})), "accepted");
}

TEST(InitWatch, EndsWithoutWaiting) {
  for (int i = 0; i < 100; ++i) const InitWatch watch({}, 3600);
}

TEST(Interfaces, SubnetsAndMembership) {
  EXPECT_EQ(subnet_of({"e", "10.77.3.11", 20, true, false, 0}), "10.77.0.0/20");
  EXPECT_EQ(subnet_of({"e", "fe80::1", 64, true, false, 0}), "");
  EXPECT_TRUE(lies_in("10.77.0.11", "10.77.0.0/24"));
  EXPECT_FALSE(lies_in("10.77.1.11", "10.77.0.0/24"));
  EXPECT_TRUE(lies_in("1.2.3.4", "0.0.0.0/0"));
  for (const char* subnet : {"eth0", "10.0.0.0/33", "10.0.0/8", "/8", "10.0.0.0/"})
    EXPECT_FALSE(lies_in("10.0.0.1", subnet)) << subnet;
}

TEST(Interfaces, GatewaysOfContainersAreKnownByName) {
  for (const char* name : {"docker0", "docker_gwbridge", "br-0123456789ab", "virbr0", "cni0"})
    EXPECT_TRUE(is_container_gateway(name)) << name;
  for (const char* name : {"eth0", "br-lan", "br0", "ib0", "bond0"}) EXPECT_FALSE(is_container_gateway(name)) << name;
}

TEST(Interfaces, OfThisHostHoldTheLoopback) {
  bool loopback = false;
  for (const auto& interface : network_interfaces()) loopback |= interface.loopback;
  EXPECT_TRUE(loopback);
}

TEST(Interfaces, ALineComesBackAndABadOneIsSkipped) {
  const std::vector<NetworkInterface> interfaces = {{"eth0", "10.0.0.1", 24, true, false, 9000},
                                                    {"eth1", "", 0, false, false, 1500}};

  EXPECT_EQ(parse_interfaces(to_line(interfaces, 1000)), interfaces);
  EXPECT_EQ(parse_interfaces(to_line(interfaces, 30)).size(), 1U);
  EXPECT_TRUE(parse_interfaces("eth0;|||;x|y|z|w|;;eth0|1.2.3.4|99999999999|1|0").empty());
}

TEST(Reachability, AListenerAndARefusalAnswer) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), length), 0);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);

  EXPECT_EQ(probe_addresses({"127.0.0.1"}, ntohs(address.sin_port), 1).at(0),
            Reach::answers);  // refused: not listening yet
  ASSERT_EQ(listen(listener, 1), 0);
  EXPECT_EQ(probe_addresses({"127.0.0.1"}, ntohs(address.sin_port), 1).at(0), Reach::answers);
  EXPECT_NE(probe_addresses({"not an address"}, 22, 1).at(0), Reach::answers);
  close(listener);
}

const OwnContact own{"node1",
                     {{"eth0", "10.77.0.11", 24, true, false, 1500}, {"docker0", "172.17.0.1", 16, true, false, 1500}}};

TEST(Silence, ADeadInterfaceIsNamedWithTheLivingNetwork) {
  const std::vector<PeerContact> peers = {
      {3,
       "node2",
       {{"eth0", "10.77.0.12", 24, true, false, 1500}, {"eth1", "10.78.0.12", 24, true, false, 1500}},
       {Reach::answers, Reach::silent}}};

  const auto text = explain_silence(own, peers);

  EXPECT_TRUE(holds(text, "eth1 of node2 (10.78.0.12) does not answer node1")) << text;
  EXPECT_TRUE(holds(text, "OMPI_MCA_btl_tcp_if_include=10.77.0.0/24")) << text;
  EXPECT_EQ(name_ranks(peers), "rank 3@node2");
}

TEST(Silence, AnAddressOnBothHostsIsAGateway) {
  const std::vector<PeerContact> peers = {
      {3,
       "node2",
       {{"eth0", "10.77.0.12", 24, true, false, 1500}, {"docker0", "172.17.0.1", 16, true, false, 1500}},
       {Reach::answers, Reach::answers}}};

  EXPECT_TRUE(
      holds(explain_silence(own, peers), "docker0 of node2 (172.17.0.1) has the address of an interface of node1"));
}

TEST(Silence, LostLargeMessagesAreTheMtu) {
  PeerContact peer{3, "node2", {{"eth0", "10.77.0.12", 24, true, false, 9000}}, {Reach::answers}};
  peer.large_lost = true;

  const auto text = explain_silence(own, {peer});

  EXPECT_TRUE(holds(text, "MTU: eth0 1500 on node1") && holds(text, "eth0 9000 on node2")) << text;
}

TEST(Silence, NothingKnownIsSaidAsSuch) {
  const std::vector<PeerContact> many(12, PeerContact{.rank = 7, .host = {}, .interfaces = {}, .reach = {}});

  EXPECT_TRUE(holds(explain_silence(own, many), "nothing is known of these ranks' hosts"));
  EXPECT_TRUE(holds(name_ranks(many), "and 4 more"));
}

TEST(Silence, AHostThatAnswersNowhereIsDown) {
  const std::vector<PeerContact> peers = {
      {3, "node2", {{"eth0", "10.77.0.12", 24, true, false, 1500}}, {Reach::unreachable}}};

  EXPECT_TRUE(holds(explain_silence(own, peers), "no address answers node1: eth0 of node2"));
}

TEST(BuildId, IsThereAndStaysTheSame) {
  EXPECT_GE(build_id().size(), 8U);
  EXPECT_EQ(build_id(), build_id());
}

}  // namespace
}  // namespace dstrain
