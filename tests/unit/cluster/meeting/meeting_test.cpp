// SPDX-License-Identifier: Apache-2.0
/// A meeting over loopback: processes on both sides, and visitors that do not behave.
#include "cluster/meeting/meeting.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "cluster/meeting/token.hpp"

namespace dstrain::meeting_test {
namespace {

using ::testing::HasSubstr;

constexpr const char* token = "a token of more than sixteen letters";

/// A port that nobody has: the system's choice, given back.
int free_port() {
  for (int port = 20000 + getpid() % 20000;; ++port) {
    try {
      listen_on(port);
      return port;
    } catch (const RefusedError&) {
    }
  }
}

MeetingOptions options_at(int port) {
  return {.token = token, .master = "127.0.0.1", .port = port, .timeout_s = 20, .notice_s = 1, .handshake_s = 2};
}

NodeCard card_of(int rank, int nodes) {
  return {rank, nodes, "host" + std::to_string(rank), "machine " + std::to_string(rank), "0.1.0", "", {0}, {}};
}

/// Runs `body` in another process: nodes are processes with signals of their own. Its exit code is what it returns,
/// 100 + the exit code of an Error that it throws.
pid_t in_process(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child != 0) return child;
  int code = 99;
  try {
    code = body();
  } catch (const Error& error) {
    code = 100 + static_cast<int>(error.exit_code());
  }
  _exit(code);
}

int code_of(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

pid_t node_process(const MeetingOptions& options, const NodeCard& card) {
  return in_process([&] {
    SignalQueue signals;
    return attend_meeting(options, card, signals);
  });
}

/// Node 0 in this process; what it starts in place of mpirun is `command`.
int hold(const MeetingOptions& options, int nodes, const std::string& command) {
  SignalQueue signals;
  MeetingOptions host = options;
  host.master.clear();
  auto meeting = gather_nodes(host, card_of(0, nodes), signals);
  auto ranks = seat_ranks(meeting.guests, meeting.own_address);
  // All come from 127.0.0.1 here: agents tell them apart by other names.
  for (std::size_t i = 0; i < ranks.placement.size(); ++i) ranks.placement[i].name = "n" + std::to_string(i);
  return run_at_meeting(meeting, ranks, {.words = {"/bin/sh", "-c", command}}, signals);
}

std::string refusal(const MeetingOptions& options, int nodes) {
  try {
    hold(options, nodes, "true");
  } catch (const RefusedError& error) {
    return error.what();
  }
  return "accepted";
}

bool somebody_listens(int port) { return static_cast<bool>(connect_to("127.0.0.1", port, 1).connection); }

/// An agent as mpirun would start it: this test program itself.
std::string agent(const std::string& node, const std::string& command) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  return fmt::format("DSTRAIN_TEST_AGENT=1 '{}' {} {}", self, node, command);
}

TEST(Meeting, EveryNodeEndsWithTheJobsCodeAndNobodyListensAfterwards) {
  const int port = free_port();
  const auto first = node_process(options_at(port), card_of(2, 3));  // before node 0 is there
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const auto second = node_process(options_at(port), card_of(1, 3));
  EXPECT_EQ(hold(options_at(port), 3, "exit 75"), 75);
  EXPECT_EQ(code_of(first), 75);
  EXPECT_EQ(code_of(second), 75);
  EXPECT_FALSE(somebody_listens(port));
}

TEST(Meeting, WrongTokenIsRefusedAndTheOthersGoOn) {
  const int port = free_port();
  auto wrong = options_at(port);
  wrong.token = "another token of many letters";
  const auto stranger = node_process(wrong, card_of(1, 2));
  const auto good = in_process([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(800));
    SignalQueue signals;
    return attend_meeting(options_at(port), card_of(1, 2), signals);
  });
  EXPECT_EQ(hold(options_at(port), 2, "exit 5"), 5);
  EXPECT_EQ(code_of(stranger), 102);  // ConfigError
  EXPECT_EQ(code_of(good), 5);
}

TEST(Meeting, TheSameNumberTwiceEndsItForAll) {
  const int port = free_port();
  auto twin = card_of(1, 3);
  twin.host = "twin";
  const auto first = node_process(options_at(port), card_of(1, 3));
  const auto second = in_process([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(800));
    SignalQueue signals;
    return attend_meeting(options_at(port), twin, signals);
  });
  EXPECT_THAT(refusal(options_at(port), 3), HasSubstr("node 1 is announced by host1 and by twin"));
  EXPECT_EQ(code_of(first), 103);  // RefusedError
  EXPECT_EQ(code_of(second), 103);
}

TEST(Meeting, AMissingNodeIsNamedAndTheOthersGoHome) {
  const int port = free_port();
  auto options = options_at(port);
  options.timeout_s = 2;
  const auto node = node_process(options_at(port), card_of(1, 3));
  EXPECT_THAT(refusal(options, 3), HasSubstr("node 2 missing of 3 nodes; here: node 0 (host0), node 1 (host1"));
  EXPECT_EQ(code_of(node), 103);
}

TEST(Meeting, NobodyAtTheMastersPort) {
  auto options = options_at(free_port());
  options.timeout_s = 1;
  EXPECT_EQ(code_of(node_process(options, card_of(1, 2))), 103);
}

TEST(Meeting, APortThatIsTakenIsSaidWithItsOwner) {
  const int port = free_port();
  const auto holder = listen_on(port);
  const std::string text = refusal(options_at(port), 2);
  EXPECT_THAT(text, HasSubstr(fmt::format("port {} is taken", port)));
  EXPECT_THAT(text, HasSubstr(fmt::format("(pid {})", getpid())));
}

// Garbage, silence, bytes one by one, a connection cut in the middle: the nodes come through all the same.
TEST(Meeting, StrangersAtThePortDoNotDisturb) {
  const int port = free_port();
  const auto strangers = in_process([&] {
    std::vector<Descriptor> open;
    for (int i = 0; i < 20; ++i) {
      auto connected = connect_to("127.0.0.1", port, 1);
      for (int tries = 0; !connected.connection && tries < 100; ++tries) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        connected = connect_to("127.0.0.1", port, 1);
      }
      if (i % 4 == 0) send_all(connected.connection, "GET / HTTP/1.0\r\n\r\n");
      if (i % 4 == 1) send_all(connected.connection, framed(std::string(200, 'x')));
      if (i % 4 == 2) send_all(connected.connection, std::string_view("\0\0\1", 3));
      if (i % 5 != 0) open.push_back(std::move(connected.connection));
    }
    std::this_thread::sleep_for(std::chrono::seconds(1));
    return 0;
  });
  const auto node = in_process([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(600));
    SignalQueue signals;
    return attend_meeting(options_at(port), card_of(1, 2), signals);
  });
  EXPECT_EQ(hold(options_at(port), 2, "exit 4"), 4);
  EXPECT_EQ(code_of(node), 4);
  EXPECT_EQ(code_of(strangers), 0);
}

TEST(Meeting, CommandsRunOnTheNodesAndTheirOutputAndCodesComeBack) {
  const int port = free_port();
  const auto node = node_process(options_at(port), card_of(1, 2));
  const std::string folder = testing::TempDir();
  const std::string command = agent("n1", fmt::format("'echo from $PPID; echo problem >&2; exit 9'")) + " >" + folder +
                              "meeting_out 2>" + folder + "meeting_err; test $? = 9 && grep -q 'from' " + folder +
                              "meeting_out && grep -q problem " + folder + "meeting_err";
  EXPECT_EQ(hold(options_at(port), 2, command), 0);
  EXPECT_EQ(code_of(node), 0);
}

TEST(Meeting, WhatANodeRunsEndsWithItsAgent) {
  const int port = free_port();
  const std::string file = testing::TempDir() + "meeting_child_" + std::to_string(getpid());
  const auto node = node_process(options_at(port), card_of(1, 2));
  const std::string command =
      agent("n1", fmt::format("'trap \"echo ended > {0}; exit\" TERM; touch {0}; while :; do sleep 0.1; done'", file)) +
      fmt::format(" & A=$!; for i in $(seq 100); do test -e {} && break; sleep 0.1; done; kill -9 $A; sleep 1", file);
  EXPECT_EQ(hold(options_at(port), 2, command), 0);
  EXPECT_EQ(code_of(node), 0);
  std::string word;
  std::getline(std::ifstream(file), word);
  EXPECT_EQ(word, "ended");
  unlink(file.c_str());
}

TEST(Meeting, ANodeThatVanishesEndsTheJob) {
  const int port = free_port();
  const auto node = node_process(options_at(port), card_of(1, 2));
  // The agent ends with 1 as soon as its node is gone.
  const std::string command =
      fmt::format("({}; echo $?) & sleep 0.5; kill -9 {}; wait; exit 6", agent("n1", "'sleep 60'"), node);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(hold(options_at(port), 2, command), 6);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(8));
  code_of(node);
}

TEST(Token, IsFoundWhereItWasPutAndRefusedWhereOthersCanReadIt) {
  const std::string folder = testing::TempDir() + "token_" + std::to_string(getpid());
  const Environment nothing = [](const char*) -> const char* { return nullptr; };
  const Environment variable = [](const char* name) {
    return std::string_view(name) == "DSTRAIN_TOKEN" ? "  a token in the variable \n" : nullptr;
  };
  EXPECT_EQ(find_token(std::nullopt, variable), "a token in the variable");
  EXPECT_THROW(find_token(std::nullopt, nothing), ConfigError);
  make_token(folder);
  EXPECT_EQ(find_token(folder, nothing).size(), 64u);
  EXPECT_THROW(make_token(folder), IoError);
  chmod(folder.c_str(), 0644);
  EXPECT_THROW(find_token(folder, nothing), ConfigError);
  unlink(folder.c_str());
  const Environment brief = [](const char* name) {
    return std::string_view(name) == "DSTRAIN_TOKEN" ? "short" : nullptr;
  };
  EXPECT_THROW(find_token(std::nullopt, brief), ConfigError);
}

}  // namespace
}  // namespace dstrain::meeting_test

/// mpirun's agent is `dstrain launch-agent`; here the same function in this program.
int main(int argc, char** argv) {
  if (std::getenv("DSTRAIN_TEST_AGENT") != nullptr) {
    unsetenv("DSTRAIN_TEST_AGENT");
    return dstrain::run_agent({argv + 1, argv + argc});
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
