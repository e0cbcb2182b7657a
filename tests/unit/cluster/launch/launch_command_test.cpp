// SPDX-License-Identifier: Apache-2.0
#include "cluster/launch/launch_command.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "cluster/launch/rank_environment.hpp"
#include "core/error.hpp"
#include "machine.hpp"

namespace dstrain::launch_command_test {
namespace {

using test::machine;
using test::Variables;
using ::testing::HasSubstr;
using ::testing::Not;

/// The value behind `option`; "-" where it is not there.
std::string value_of(const LaunchCommand& command, const std::string& option) {
  const auto at = std::ranges::find(command.words, option);
  return at == command.words.end() || at + 1 == command.words.end() ? "-" : *(at + 1);
}

std::string variable_of(const LaunchCommand& command, const std::string& name) {
  const auto at = std::ranges::find(command.variables, name, &EnvironmentVariable::first);
  return at == command.variables.end() ? "-" : at->second;
}

/// The command of a request with a hostfile of worker-0 to worker-2.
LaunchCommand over_ssh(LaunchRequest request, const Surroundings& here,
                       const std::string& hostfile = "worker-0 slots=4\nworker-1 slots=4\nworker-2 slots=2\n") {
  const std::string file = testing::TempDir() + "launch_hostfile";
  std::ofstream(file) << hostfile;
  request.hostfile = file;
  request.words = {"cfg.yaml"};
  const auto way = choose_way(request, here);
  EXPECT_EQ(way, LaunchWay::ssh);
  const auto placement = place_ranks(request, here, way);
  std::vector<std::string> notes;
  const auto network = choose_network(request, here, addresses_of_hosts(here, placement), notes);
  auto command = mpirun_command(request, here, way, placement, network);
  command.notes = notes;
  return command;
}

TEST(ChooseWay, ByWhatIsThere) {
  LaunchRequest request;
  EXPECT_EQ(choose_way(request, machine()), LaunchWay::local);
  auto with_hostfile = machine();
  with_hostfile.has_default_hostfile = true;
  EXPECT_EQ(choose_way(request, with_hostfile), LaunchWay::ssh);

  auto job = machine({{"SLURM_JOB_ID", "7"}, {"SLURM_JOB_NODELIST", "n[1-2]"}});
  EXPECT_EQ(choose_way(request, job), LaunchWay::slurm_mpirun);
  job.srun_mpi_list = [] { return std::string("MPI plugin types are...\n\tpmix\n\tnone\n"); };
  EXPECT_EQ(choose_way(request, job), LaunchWay::srun);

  request.nodes = 2;
  request.nodes_from = NodesFrom::variable;
  EXPECT_EQ(choose_way(request, machine()), LaunchWay::meeting);
  EXPECT_EQ(choose_way(request, job), LaunchWay::srun);  // a job script's own NNODES
  request.nodes_from = NodesFrom::flag;
  EXPECT_EQ(choose_way(request, job), LaunchWay::meeting);
  request.hostfile = "h";
  EXPECT_EQ(choose_way(request, machine()), LaunchWay::ssh);
  request.no_ssh = true;
  EXPECT_EQ(choose_way(request, machine()), LaunchWay::meeting);
}

TEST(ChooseWay, RefusesNodesWithoutAWayToThem) {
  LaunchRequest request;
  request.selection.num_nodes = 2;
  EXPECT_THROW(choose_way(request, machine()), ConfigError);
  request.selection.num_nodes.reset();
  request.launcher = "slurm";
  EXPECT_THROW(choose_way(request, machine()), ConfigError);
}

TEST(MpirunCommand, HostsInTheHostfilesOrderWithTheirDevices) {
  LaunchRequest request;
  request.selection.exclude = "worker-1@worker-0:1";
  const auto command = over_ssh(request, machine());
  EXPECT_EQ(value_of(command, "-np"), "5");
  EXPECT_EQ(value_of(command, "-host"), "worker-0:3,worker-2:2");
  EXPECT_EQ(value_of(command, "--map-by"), "slot");
  EXPECT_EQ(variable_of(command, devices_variable), "worker-0:0,2,3@worker-2:0,1");
  EXPECT_EQ(command.words.back(), "cfg.yaml");
}

// Open MPI puts the machine it runs on in front of any other list.
TEST(MpirunCommand, KeepsTheOrderWhereThisMachineStandsBehindAnother) {
  const auto command = over_ssh({}, machine(), "worker-0 slots=2\nhead slots=2\n");
  EXPECT_EQ(value_of(command, "-host"), "worker-0,worker-0,head,head");
  EXPECT_EQ(value_of(command, "--map-by"), "seq");
}

TEST(MpirunCommand, OneSubnetForMpiAndNccl) {
  const auto command = over_ssh({}, machine());
  const std::string line = shown(command);
  EXPECT_THAT(line, HasSubstr("btl_tcp_if_include 10.0.0.0/24"));
  EXPECT_THAT(line, HasSubstr("oob_tcp_if_include 10.0.0.0/24"));
  EXPECT_EQ(variable_of(command, network_variable), "10.0.0.0/24");
  ASSERT_EQ(command.notes.size(), 1u);
  EXPECT_THAT(command.notes[0], HasSubstr("network 10.0.0.0/24 (here eth0) for MPI and NCCL"));
}

TEST(MpirunCommand, NoSubnetWhereThereIsNoneInCommon) {
  const auto command = over_ssh({}, machine(), "worker-0 slots=1\nfar slots=1\n");
  EXPECT_THAT(shown(command), Not(HasSubstr("if_include")));
  EXPECT_THAT(command.notes.at(0), HasSubstr("share no subnet"));
  const auto unknown = over_ssh({}, machine(), "worker-0 slots=1\nalias slots=1\n");
  EXPECT_THAT(unknown.notes.at(0), HasSubstr("alias cannot be resolved here"));
}

TEST(MpirunCommand, TheUsersChoiceOfANetworkIsTakenForBoth) {
  EXPECT_THAT(shown(over_ssh({}, machine({{"NCCL_SOCKET_IFNAME", "=eth1"}}))),
              HasSubstr("btl_tcp_if_include 192.168.1.0/24"));
  const auto by_mpi = over_ssh({}, machine({{"OMPI_MCA_btl_tcp_if_include", "192.168.1.0/24"}}));
  EXPECT_THAT(shown(by_mpi), Not(HasSubstr("--mca btl_tcp_if_include")));
  EXPECT_EQ(variable_of(by_mpi, network_variable), "192.168.1.0/24");
  LaunchRequest request;
  request.network = "eth1";
  EXPECT_EQ(variable_of(over_ssh(request, machine()), network_variable), "192.168.1.0/24");
  request.network = "nothing";
  EXPECT_THROW(over_ssh(request, machine()), ConfigError);
}

TEST(MpirunCommand, NeverOverridesWhatTheUserSet) {
  auto here = machine({{"OMPI_MCA_oob_tcp_keepalive_time", "60"}, {"OMPI_MCA_plm_rsh_agent", "myssh"}});
  here.mca_params = {{"oob_tcp_keepalive_probes", "9"}};
  LaunchRequest request;
  request.launcher_args = {"--mca", "oob_tcp_keepalive_intvl", "5", "--bind-to", "core"};
  const std::string line = shown(over_ssh(request, here));
  EXPECT_THAT(line, Not(HasSubstr("keepalive_time")));
  EXPECT_THAT(line, Not(HasSubstr("keepalive_probes")));
  EXPECT_THAT(line, Not(HasSubstr("plm_rsh_agent")));
  EXPECT_THAT(line, Not(HasSubstr("--bind-to none")));
  EXPECT_THAT(line, HasSubstr("oob_tcp_keepalive_intvl 5"));
  EXPECT_THAT(shown(over_ssh({}, machine())), HasSubstr("oob_tcp_keepalive_time 3"));
}

TEST(MpirunCommand, SshAsksNothingAndKnowsPortAndUser) {
  LaunchRequest request;
  request.ssh_port = 2222;
  const auto command = over_ssh(request, machine(), "me@worker-0 slots=1\nme@worker-1 slots=1\n");
  EXPECT_THAT(shown(command), HasSubstr("BatchMode=yes"));
  EXPECT_THAT(shown(command), HasSubstr("-p 2222 -l me'"));
  EXPECT_EQ(value_of(command, "-host"), "worker-0:1,worker-1:1");
  EXPECT_THROW(over_ssh(request, machine(), "me@worker-0 slots=1\nyou@worker-1 slots=1\n"), ConfigError);
  EXPECT_THROW(over_ssh({}, machine(), "fe80::1 slots=1\nworker-1 slots=1\n"), ConfigError);
}

TEST(MpirunCommand, HandsVariablesOnByName) {
  auto here = machine({{"NCCL_DEBUG", "INFO"},
                       {"DSTRAIN_TOKEN", "secret secret secret"},
                       {"HOME", "/root"},
                       {"CUDA_VISIBLE_DEVICES", "3"},
                       {"OMPI_MCA_pml", "ob1"}});
  here.environment_file.variables = {{"UCX_TLS", "tcp"}, {"GREETING", "it's \"a b\"; $HOME"}};
  const auto command = over_ssh({}, here);
  const std::string line = shown(command);
  for (const char* name : {"-x NCCL_DEBUG", "-x UCX_TLS", "-x GREETING", "-x DSTRAIN_DEVICES"})
    EXPECT_THAT(line, HasSubstr(name));
  for (const char* name : {"DSTRAIN_TOKEN", "secret", "-x HOME", "CUDA_VISIBLE_DEVICES", "-x OMPI_MCA"})
    EXPECT_THAT(line, Not(HasSubstr(name)));
  EXPECT_EQ(variable_of(command, "GREETING"), "it's \"a b\"; $HOME");
  EXPECT_THAT(line, HasSubstr(R"(GREETING='it'\''s "a b"; $HOME')"));
  EXPECT_EQ(variable_of(command, "NCCL_DEBUG"), "-");  // mpirun has it from this process
}

TEST(PlaceRanks, CountsAsTheirLaunchersDo) {
  LaunchRequest request;
  auto here = machine();
  here.devices = 4;
  here.cores = 16;
  EXPECT_EQ(rank_count(place_ranks(request, here, LaunchWay::local)), 4);
  request.per_node_by_cores = true;
  EXPECT_EQ(rank_count(place_ranks(request, here, LaunchWay::local)), 16);
  request = {};
  request.total_ranks = 2;
  EXPECT_EQ(place_ranks(request, here, LaunchWay::local), (Placement{{"localhost", {0, 1}}}));
  request = {};
  EXPECT_EQ(place_ranks(request, machine({{"CUDA_VISIBLE_DEVICES", "5,2"}}), LaunchWay::local),
            (Placement{{"localhost", {5, 2}}}));
  request.gpu_ids = "1,3";
  EXPECT_EQ(place_ranks(request, here, LaunchWay::local), (Placement{{"localhost", {1, 3}}}));
  // accelerate: processes of all machines together
  request = {};
  request.nodes = 2;
  request.total_ranks = 6;
  EXPECT_EQ(place_own_ranks(request, here).devices.size(), 3u);
  request.total_ranks = 5;
  EXPECT_THROW(place_own_ranks(request, here), ConfigError);
}

TEST(PlaceRanks, TakesTheAllocationAsAHostfile) {
  auto job = machine({{"SLURM_JOB_ID", "7"},
                      {"SLURM_JOB_NODELIST", "n[1-3]"},
                      {"SLURM_NTASKS", "20"},
                      {"SLURM_TASKS_PER_NODE", "8(x2),4"}});
  job.slurm_names = [](const std::string&) { return std::vector<std::string>{"n1", "n2", "n3"}; };
  EXPECT_EQ(rank_count(place_ranks({}, job, LaunchWay::srun)), 20);
  LaunchRequest request;
  request.selection.include = "n1:0,1@n3";
  const auto placement = place_ranks(request, job, LaunchWay::srun);
  request.words = {"cfg.yaml"};
  const auto command = srun_command(request, job, placement);
  EXPECT_THAT(shown(command), HasSubstr("srun --mpi=pmix --ntasks=6 --nodes=2"));
  EXPECT_THAT(shown(command), HasSubstr("--distribution=arbitrary"));
  EXPECT_EQ(command.slurm_hostfile, "n1\nn1\nn3\nn3\nn3\nn3\n");
  EXPECT_EQ(variable_of(command, devices_variable), "n1:0,1@n3:0,1,2,3");
  EXPECT_EQ(srun_command({}, job, place_ranks({}, job, LaunchWay::srun)).slurm_hostfile, "");
  EXPECT_THAT(shown(srun_command({}, machine({{"SLURM_CPUS_PER_TASK", "4"}}), placement)),
              HasSubstr("SRUN_CPUS_PER_TASK=4"));
}

TEST(VisibleDevicesOf, NumbersRanksHostByHost) {
  const std::string list = "a:0,2@b:1@c:0,1,3";
  EXPECT_EQ(visible_devices_of(list, 0, 0), "0,2");
  EXPECT_EQ(visible_devices_of(list, 1, 1), "0,2");
  EXPECT_EQ(visible_devices_of(list, 2, 0), "1");
  EXPECT_EQ(visible_devices_of(list, 5, 2), "0,1,3");
  EXPECT_EQ(visible_devices_of(list, 6, 3), std::nullopt);
  EXPECT_EQ(visible_devices_of(list, 2, 2), std::nullopt);  // placed on another host than planned
  EXPECT_EQ(visible_devices_of("nonsense", 0, 0), std::nullopt);
}

TEST(Network, ReadsAndFindsSubnets) {
  EXPECT_EQ(to_text(*parse_subnet("10.1.2.3/16")), "10.1.0.0/16");
  for (const char* wrong : {"10.1.2/16", "10.1.2.3", "10.1.2.3/33", "10.1.2.256/8", "10.1.2.3/", "a/8", "10.1.2.3.4/8"})
    EXPECT_EQ(parse_subnet(wrong), std::nullopt) << wrong;
  const auto own = machine().interfaces;
  // Containers' bridges have the same subnet on every host and lead to none.
  const Ipv4 bridge = (172u << 24) | (17u << 16) | 2, real = (10u << 24) | 9;
  EXPECT_EQ(to_text(*common_subnet(own, {{"a", {bridge, real}}, {"b", {real, bridge}}})), "10.0.0.0/24");
  EXPECT_EQ(chosen_subnet("^docker0", own), std::nullopt);
  EXPECT_EQ(to_text(*chosen_subnet("eth1,eth0", own)), "192.168.1.0/24");
}

}  // namespace
}  // namespace dstrain::launch_command_test
