// SPDX-License-Identifier: Apache-2.0
/// `dstrain launch` on four hosts that are network namespaces: over ssh, and by a meeting without ssh.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>

#include "run_support.hpp"

namespace dstrain::test {
namespace {

using ::testing::HasSubstr;

constexpr const char* script = DSTRAIN_SOURCE_DIR "/tests/e2e/hosts/hosts.sh";
constexpr const char* token = "DSTRAIN_TOKEN=a-token-for-this-test-alone";

/// Four hosts with four slots each, made once for all tests of the suite; why they are not there, where they are not.
class LaunchOnHosts : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    state = std::filesystem::path(DSTRAIN_TEST_TMP) / fmt::format("hosts-{}", getpid());
    const auto check = hosts("check");
    if (check.exit_code != 0) {
      missing = check.out;
      return;
    }
    const auto up = hosts("up 4 4", "DEAD_NIC=1");  // eth1 leads nowhere: whoever takes it hangs
    if (up.exit_code != 0) missing = up.out + up.err;
    has_ssh = run("command -v sshd /usr/sbin/sshd").exit_code == 0;
    if (missing.empty() && has_ssh) hosts("sshd");
  }
  static void TearDownTestSuite() {
    if (missing.empty()) hosts("down");
  }

  void SetUp() override {
    if (!missing.empty()) GTEST_SKIP() << "skipped: " << missing;
    folder = fresh_folder();
  }

  static ProcessResult hosts(const std::string& words, const std::string& variables = "") {
    return run(fmt::format("HOSTS_STATE={} {} {} {}", quoted(state.string()), variables, script, words));
  }
  /// "hosts.sh exec HOST": in front of a command.
  static std::string on(const std::string& host) {
    return fmt::format("HOSTS_STATE={} timeout -k 5 120 {} exec {} env OMPI_MCA_mpi_yield_when_idle=1 ",
                       quoted(state.string()), script, host);
  }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(folder / name) << text;
    return (folder / name).string();
  }

  /// A program that says where it runs, in place of dstrain.
  [[nodiscard]] std::string show() const {
    const auto path = write("show.sh",
                            "#!/bin/sh\n"
                            "echo \"$OMPI_COMM_WORLD_RANK $(hostname) $CUDA_VISIBLE_DEVICES $NCCL_SOCKET_IFNAME\"\n");
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return "--no_python " + quoted(path);
  }

  /// Lines of `text` in the order of their first number.
  static std::vector<std::string> by_rank(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    std::ranges::sort(lines, {}, [](const std::string& line) { return std::atoi(line.c_str()); });
    return lines;
  }

  /// What each rank says that `flags` start from node1 with this hostfile.
  [[nodiscard]] std::vector<std::string> places(const std::string& flags, const std::string& hostfile) const {
    const auto file = write("hostfile", hostfile);
    const auto result = run(fmt::format("{}{} launch --hostfile {} {} {}", on("node1"), binary(), file, flags, show()));
    if (result.exit_code != 0) return {result.err};
    return by_rank(result.out);
  }

  /// Starts `words` on node1 .. nodeN as a pool platform does, the last first; the output of node k is node<k>.log.
  [[nodiscard]] std::string meeting(int nodes, const std::string& words, const std::string& each = "") const {
    std::string command = "cd " + quoted(folder.string()) + "; ";
    for (int k = nodes; k >= 1; --k) {
      command += fmt::format(
          "({} {} NNODES={} NODE_RANK={} NPROC_PER_NODE=1 MASTER_ADDR=node1 MASTER_PORT=29511 {} {} {} >node{}.log "
          "2>&1; "
          "echo $? >node{}.rc) & ",
          on(fmt::format("node{}", k)), token, nodes, k - 1, each, binary(), words, k, k);
    }
    return command;
  }
  [[nodiscard]] std::string log_of(int node) const {
    std::ifstream in(folder / fmt::format("node{}.log", node));
    return {std::istreambuf_iterator<char>(in), {}};
  }
  [[nodiscard]] int code_of(int node) const {
    std::ifstream in(folder / fmt::format("node{}.rc", node));
    int code = -1;
    in >> code;
    return code;
  }

  /// A configuration whose files lie in a folder that only node1 has.
  [[nodiscard]] std::string hidden_job() const {
    const auto hidden = folder / "only-on-node1";
    std::filesystem::create_directories(hidden);
    const std::string sums = DSTRAIN_SOURCE_DIR "/examples/sums";
    run(fmt::format("{0}/make_data.sh {1}/data 64 4 && cp -r {0}/model {1}/model", sums, hidden.string()));
    std::ofstream(hidden / "cfg.yaml") << "model_name_or_path: model\ntrain_from_scratch: true\nstage: sft\n"
                                          "finetuning_type: full\nzero_stage: 3\ndataset: sums\ndataset_dir: data\n"
                                          "template: default\ncutoff_len: 96\nlogging_steps: 1\nmax_steps: 3\n"
                                          "per_device_train_batch_size: 2\nlearning_rate: 1.0e-3\nseed: 1\n"
                                          "use_cpu: true\nsave_steps: 2\ncheckpoint_writers: single\n";
    for (const char* host : {"node2", "node3", "node4"}) hosts(fmt::format("hide {} {}", host, hidden.string()));
    return hidden.string();
  }

  static inline std::filesystem::path state;
  static inline std::string missing;
  static inline bool has_ssh = false;
  std::filesystem::path folder;
};

#define NEEDS_SSHD() \
  if (!has_ssh) GTEST_SKIP() << "skipped: no sshd (openssh-server)"

const std::string four = "node1 slots=4\nnode2 slots=4\nnode3 slots=2\nnode4 slots=1\n";

TEST_F(LaunchOnHosts, SshPlacesExactlyTheRanksOfEveryFilter) {
  NEEDS_SSHD();
  using Lines = std::vector<std::string>;
  EXPECT_EQ(places("", "node1 slots=1\n  node2\tslots=2  # two\n\n#node3 slots=1\n"),
            (Lines{"0 node1 0 =eth0", "1 node2 0,1 =eth0", "2 node2 0,1 =eth0"}));
  EXPECT_EQ(places("--include node3@node2:2,0", four),
            (Lines{"0 node2 0,2 =eth0", "1 node2 0,2 =eth0", "2 node3 0,1 =eth0", "3 node3 0,1 =eth0"}));
  EXPECT_EQ(places("--include node2:3@node2:1", four), (Lines{"0 node2 1,3 =eth0", "1 node2 1,3 =eth0"}));
  EXPECT_EQ(places("--include node1:2", four), (Lines{"0 node1 2 "})) << "this machine alone: no network";
  EXPECT_EQ(places("--exclude node1@node2:0,1,2@node3", four), (Lines{"0 node2 3 =eth0", "1 node4 0 =eth0"}));
  EXPECT_EQ(places("--num_nodes 3 --num_gpus 1", four),
            (Lines{"0 node1 0 =eth0", "1 node2 0 =eth0", "2 node3 0 =eth0"}));
  EXPECT_EQ(places("--num_nodes=2 -np 6", four),
            (Lines{"0 node1 0,1,2,3 =eth0", "1 node1 0,1,2,3 =eth0", "2 node1 0,1,2,3 =eth0", "3 node1 0,1,2,3 =eth0",
                   "4 node2 0,1 =eth0", "5 node2 0,1 =eth0"}));
  EXPECT_EQ(places("", "root@node2 slots=1\nroot@node4 slots=1\n"), (Lines{"0 node2 0 =eth0", "1 node4 0 =eth0"}));
}

// Open MPI would put node1, where mpirun runs, in front.
TEST_F(LaunchOnHosts, RanksKeepTheHostfilesOrder) {
  NEEDS_SSHD();
  EXPECT_EQ(places("", "node3 slots=2\nnode1 slots=1\nnode2 slots=1\n"),
            (std::vector<std::string>{"0 node3 0,1 =eth0", "1 node3 0,1 =eth0", "2 node1 0 =eth0", "3 node2 0 =eth0"}));
}

TEST_F(LaunchOnHosts, VariablesReachEveryRankAsTheyWere) {
  NEEDS_SSHD();
  const auto file = write("hostfile", "node1 slots=1\nnode2 slots=1\n");
  write(".deepspeed_env", "# comment\n\nexport GREETING=\"it's a 'b'; $HOME\"\nUCX_TLS=tcp\n");
  const auto program = write("variables.sh",
                             "#!/bin/sh\nprintf '%s|%s|%s|%s\\n' \"$NCCL_X\" \"$GREETING\" \"$UCX_TLS\" "
                             "\"$DSTRAIN_TOKEN\" >>\"$1.$OMPI_COMM_WORLD_RANK\"\n");
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  const std::string words = fmt::format("--no_python {} {}", program, (folder / "said").string());
  const std::string set = "NCCL_X='a  b;\"c\" `d` \\'";
  const auto expected = [&](const char* rank) {
    std::ifstream in(folder / fmt::format("said.{}", rank));
    std::string line;
    std::getline(in, line);
    return line;
  };
  const std::string value = "a  b;\"c\" `d` \\|it's a 'b'; $HOME|tcp|";

  const auto by_ssh = run(fmt::format("cd {} && {} {} {} {} launch --hostfile {} {}", folder.string(), on("node1"),
                                      token, set, binary(), file, words));
  ASSERT_EQ(by_ssh.exit_code, 0) << by_ssh.err;
  EXPECT_EQ(expected("0"), value);
  EXPECT_EQ(expected("1"), value);

  std::filesystem::remove(folder / "said.0");
  std::filesystem::remove(folder / "said.1");
  run(meeting(2, "launch " + words, set) + "wait");
  EXPECT_EQ(expected("0"), value) << log_of(1);
  EXPECT_EQ(expected("1"), value) << log_of(2);
}

TEST_F(LaunchOnHosts, TrainsBothWaysWithFilesOnTheFirstHostAlone) {
  const auto hidden = hidden_job();
  const auto file = write("hostfile", "node1 slots=1\nnode2 slots=1\nnode3 slots=1\nnode4 slots=1\n");
  const auto losses = [&](const std::string& output) {
    return logged(std::filesystem::path(hidden) / output / "trainer_state.json");
  };
  const auto job = [&](const std::string& output) {
    return fmt::format("{0}/cfg.yaml output_dir={0}/{1}", hidden, output);
  };
  const auto alone = run(fmt::format("{}{} launch -np 4 {}", on("node1"), binary(), job("alone")));
  ASSERT_EQ(alone.exit_code, 0) << alone.err;
  const auto expected = losses("alone");
  ASSERT_EQ(expected.size(), 3u);
  const auto expect_same = [&](const std::string& output) {
    const auto got = losses(output);
    ASSERT_EQ(got.size(), 3u) << output;
    for (const auto& [step, loss] : expected) EXPECT_NEAR(got.at(step), loss, 1e-5) << output << " step " << step;
    EXPECT_TRUE(std::filesystem::exists(std::filesystem::path(hidden) / output / "model.safetensors"));
    const auto checkpoint = std::filesystem::path(hidden) / output / "checkpoint-2";
    const auto verdict = run(fmt::format("{} inspect {} --verify", binary(), quoted(checkpoint.string())));
    EXPECT_EQ(verdict.exit_code, 0) << verdict.err;
  };

  if (has_ssh) {
    const auto result = run(fmt::format("{}{} launch --hostfile {} {}", on("node1"), binary(), file, job("ssh")));
    ASSERT_EQ(result.exit_code, 0) << result.out << result.err;
    EXPECT_THAT(result.err + result.out, HasSubstr("4 on 4 hosts"));
    expect_same("ssh");
  }

  // The bare command, as under torchrun: the variables alone say that there are more nodes.
  run(meeting(4, job("meeting")) + "wait");
  for (int node = 1; node <= 4; ++node) EXPECT_EQ(code_of(node), 0) << log_of(node);
  EXPECT_THAT(log_of(1), HasSubstr("4 on 4 hosts"));
  expect_same("meeting");
  EXPECT_NE(run(on("node1") + "sh -c 'ss -ltn | grep -q :29511'").exit_code, 0) << "nobody listens afterwards";
}

// A platform that stops one node: the run ends everywhere after a checkpoint.
TEST_F(LaunchOnHosts, AStopOnOneNodeIsACheckpointForAll) {
  const auto job = write("cfg.yaml",
                         "model_name_or_path: preset:nano\ntrain_from_scratch: true\nstage: pt\ndataset: synthetic\n"
                         "template: default\ncutoff_len: 64\nmax_steps: 100000\nlogging_steps: 1\nsave_steps: 100000\n"
                         "finetuning_type: full\nuse_cpu: true\noutput_dir: " +
                             (folder / "out").string() + "\n");
  const auto result =
      run(meeting(2, job) + fmt::format("for i in $(seq 400); do grep -q '^step' node1.log && break; sleep 0.1; done; "
                                        "{} sh -c 'kill -TERM $(pgrep -o dstrain)'; wait",
                                        on("node2")));
  EXPECT_EQ(code_of(1), 75) << log_of(1);
  EXPECT_EQ(code_of(2), 75) << log_of(2);
  EXPECT_TRUE(std::filesystem::exists(folder / "out" / "latest"));
}

TEST_F(LaunchOnHosts, ANodeThatVanishesEndsTheRunInSeconds) {
  const auto job =
      write("cfg.yaml",
            "model_name_or_path: preset:nano\ntrain_from_scratch: true\nstage: pt\ndataset: synthetic\n"
            "template: default\ncutoff_len: 64\nmax_steps: 100000\nlogging_steps: 1\nsave_strategy: \"no\"\n"
            "finetuning_type: full\nuse_cpu: true\noutput_dir: " +
                (folder / "out").string() + "\n");
  const auto result =
      run(meeting(3, job) +
          fmt::format("for i in $(seq 400); do grep -q '^step' node1.log && break; sleep 0.1; done; date +%s >cut; "
                      "HOSTS_STATE={} {} cut node3; wait; date +%s >end; true",
                      quoted(state.string()), script));
  int cut = 0, end = 0;
  std::ifstream(folder / "cut") >> cut;
  std::ifstream(folder / "end") >> end;
  ASSERT_GT(end, 0);
  ASSERT_GT(cut, 0);
  EXPECT_LT(end - cut, 30);
  for (int node = 1; node <= 3; ++node) EXPECT_NE(code_of(node), 0) << log_of(node);
  EXPECT_THAT(log_of(1), HasSubstr("node 2 (node3 10.77.0.13) is gone"));
  EXPECT_THAT(log_of(3), HasSubstr("node 0 is gone"));
}

}  // namespace
}  // namespace dstrain::test
