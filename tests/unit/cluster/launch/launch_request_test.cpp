// SPDX-License-Identifier: Apache-2.0
#include "cluster/launch/launch_request.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "machine.hpp"

namespace dstrain::launch_request_test {
namespace {

using test::environment_of;
using test::files_of;
using test::Variables;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

LaunchRequest parse(const Words& words, const Variables& variables = {},
                    const std::map<std::string, std::string>& files = {}) {
  return parse_launch_words(words, environment_of(variables), files_of(files));
}

std::string problem(const Words& words, const Variables& variables = {}) {
  try {
    parse(words, variables);
  } catch (const ConfigError& error) {
    return std::string(error.what()) + " | " + error.hint();
  }
  return "accepted";
}

TEST(LaunchRequest, FlagsEndWhereTheJobBegins) {
  const auto request = parse({"--hostfile", "h", "--num_gpus=2", "cfg.yaml", "--hostfile", "x", "seed=1"});
  EXPECT_EQ(request.hostfile, "h");
  EXPECT_EQ(request.selection.num_gpus, 2);
  EXPECT_THAT(request.words, ElementsAre("cfg.yaml", "--hostfile", "x", "seed=1"));
}

TEST(LaunchRequest, UnderstandsDeepSpeedsWords) {
  const auto request = parse({"-H", "hosts", "--include", "worker-0@worker-1:0,2", "--master_port", "29501",
                              "--master_addr=10.0.0.1", "--launcher", "pdsh", "--launcher_args", "--verbose -x 'A B'",
                              "--ssh_port", "2222", "--no_ssh_check", "--bind_cores_to_rank", "train.py", "cfg.yaml"});
  EXPECT_EQ(request.hostfile, "hosts");
  EXPECT_EQ(request.selection.include, "worker-0@worker-1:0,2");
  EXPECT_EQ(request.master_port, 29501);
  EXPECT_EQ(request.launcher, "ssh");
  EXPECT_THAT(request.launcher_args, ElementsAre("--verbose", "-x", "A B"));
  EXPECT_EQ(request.ssh_port, 2222);
  EXPECT_THAT(request.notes, ElementsAre(HasSubstr("--bind_cores_to_rank has no effect")));
}

TEST(LaunchRequest, UnderstandsTorchrunsWords) {
  const auto request = parse({"--nnodes=2:2", "--nproc-per-node", "4", "--node-rank=1", "--rdzv-endpoint=m:1234",
                              "--rdzv_id", "job7", "--rdzv_conf", "is_host=0,join_timeout=77", "cfg.yaml"});
  EXPECT_EQ(request.nodes, 2);
  EXPECT_EQ(request.nodes_from, NodesFrom::flag);
  EXPECT_EQ(request.selection.num_gpus, 4);
  EXPECT_EQ(request.node_rank, 1);
  EXPECT_EQ(request.master_addr, "m");
  EXPECT_EQ(request.master_port, 1234);
  EXPECT_EQ(request.rendezvous_id, "job7");
  EXPECT_EQ(request.join_timeout_s, 77);
  EXPECT_THAT(problem({"--nnodes", "1:4", "cfg.yaml"}), HasSubstr("fixed number of nodes"));
  EXPECT_EQ(parse({"--standalone", "--nproc_per_node=gpu", "c.yaml"}).nodes, 1);
}

TEST(LaunchRequest, UnderstandsAcceleratesWordsAndFile) {
  const std::map<std::string, std::string> files = {
      {"acc.yaml",
       "distributed_type: DEEPSPEED\nnum_machines: 2\nmachine_rank: 1\nnum_processes: 8\nmain_process_ip: 10.0.0.9\n"
       "main_process_port: 20001\ndeepspeed_config:\n  deepspeed_multinode_launcher: standard\n"}};
  const auto request = parse({"--config_file", "acc.yaml", "cfg.yaml"}, {}, files);
  EXPECT_EQ(request.nodes, 2);
  EXPECT_EQ(request.node_rank, 1);
  EXPECT_EQ(request.total_ranks, 8);
  EXPECT_EQ(request.master_addr, "10.0.0.9");
  EXPECT_EQ(request.master_port, 20001);
  EXPECT_TRUE(request.no_ssh);
  EXPECT_THAT(request.words, ElementsAre("cfg.yaml", "--config_file", "acc.yaml"));

  const auto flags = parse({"--config_file", "acc.yaml", "--machine_rank", "0", "cfg.yaml"}, {}, files);
  EXPECT_EQ(flags.node_rank, 0);
}

TEST(LaunchRequest, VariablesOfEveryKindOfPlatform) {
  EXPECT_EQ(parse({"c.yaml"}, {{"NNODES", "3"}, {"NODE_RANK", "2"}}).node_rank, 2);
  EXPECT_EQ(parse({"c.yaml"}, {{"PET_NNODES", "3"}, {"PET_NODE_RANK", "1"}, {"NODE_RANK", "9"}}).node_rank, 1);
  const auto pytorch_job =
      parse({"c.yaml"}, {{"WORLD_SIZE", "4"}, {"RANK", "3"}, {"MASTER_ADDR", "m-0"}, {"MASTER_PORT", "23456"}});
  EXPECT_EQ(pytorch_job.nodes, 4);
  EXPECT_EQ(pytorch_job.node_rank, 3);
  EXPECT_EQ(pytorch_job.master_port, 23456);
  const auto worker = parse({"c.yaml"}, {{"WORLD_SIZE", "8"},
                                         {"RANK", "4"},
                                         {"LOCAL_RANK", "0"},
                                         {"LOCAL_WORLD_SIZE", "4"},
                                         {"GROUP_RANK", "1"},
                                         {"GROUP_WORLD_SIZE", "2"},
                                         {"MASTER_ADDR", "m"}});
  EXPECT_EQ(worker.nodes, 2);
  EXPECT_EQ(worker.node_rank, 1);
  EXPECT_EQ(worker.selection.num_gpus, 4);
}

TEST(LaunchRequest, FlagsCountMoreThanVariables) {
  const auto request = parse({"--node_rank", "0", "c.yaml"}, {{"NODE_RANK", "5"}, {"NNODES", "2"}});
  EXPECT_EQ(request.node_rank, 0);
  EXPECT_EQ(request.nodes_from, NodesFrom::variable);
}

TEST(LaunchRequest, SaysWhatIsWrong) {
  EXPECT_THAT(problem({"--hostfle", "h", "c.yaml"}), HasSubstr("did you mean --hostfile?"));
  EXPECT_THAT(problem({"--num_nodes", "two", "c.yaml"}), HasSubstr("a whole number"));
  EXPECT_THAT(problem({"--master_addr", "x.x.x.x", "c.yaml"}), HasSubstr("is not an address"));
  EXPECT_THAT(problem({"--master_addr", "主节点", "c.yaml"}), HasSubstr("is not an address"));
  EXPECT_THAT(problem({"--num_nodes", "1", "--num_nodes", "2", "c.yaml"}), HasSubstr("given twice"));
  EXPECT_THAT(problem({"--autotuning", "run", "c.yaml"}), HasSubstr("dstrain plan"));
  EXPECT_THAT(problem({"--launcher", "magic", "c.yaml"}), HasSubstr("not known"));
  EXPECT_THAT(problem({"c.yaml"}, {{"MASTER_PORT", "99999"}}), HasSubstr("MASTER_PORT is \"99999\""));
  EXPECT_THAT(problem({"--hostfile"}), HasSubstr("needs a value"));
}

TEST(AsksForLaunch, OnlyWhereSomethingSaysThereAreMore) {
  EXPECT_FALSE(asks_for_launch(environment_of({})));
  EXPECT_FALSE(asks_for_launch(environment_of({{"NNODES", "1"}, {"NPROC_PER_NODE", "1"}})));
  EXPECT_TRUE(asks_for_launch(environment_of({{"NNODES", "2"}})));
  EXPECT_TRUE(asks_for_launch(environment_of({{"NPROC_PER_NODE", "4"}})));
  EXPECT_TRUE(asks_for_launch(environment_of({{"WORLD_SIZE", "2"}, {"RANK", "0"}, {"MASTER_ADDR", "m"}})));
  EXPECT_FALSE(asks_for_launch(environment_of({{"WORLD_SIZE", "2"}, {"RANK", "0"}})));
  // A worker of somebody's own making: how many nodes there are cannot be told.
  EXPECT_FALSE(
      asks_for_launch(environment_of({{"WORLD_SIZE", "2"}, {"RANK", "0"}, {"LOCAL_RANK", "0"}, {"MASTER_ADDR", "m"}})));
  EXPECT_FALSE(asks_for_launch(environment_of({{"NNODES", "2"}, {"OMPI_COMM_WORLD_RANK", "0"}})));
  EXPECT_FALSE(asks_for_launch(environment_of({{"NNODES", "2"}, {"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}})));
}

}  // namespace
}  // namespace dstrain::launch_request_test
