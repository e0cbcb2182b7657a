// SPDX-License-Identifier: Apache-2.0
#include "cluster/preflight/ssh_check.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <sstream>
#include <thread>

#include "core/error.hpp"
#include "core/handle.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t at_a_time = 32;  // processes
constexpr std::size_t most_words = 4096;

std::vector<std::string> agent_words(const std::string& agent) {
  std::istringstream stream(agent);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  if (words.empty()) throw ConfigError("the ssh command is empty", "--ssh");
  const auto& program = words.front();
  if (program == "ssh" || program.ends_with("/ssh")) {
    for (const char* word : {"-o", "BatchMode=yes", "-o", "ConnectTimeout=5"}) words.emplace_back(word);
  }
  return words;
}

/// A running agent and the end of its stderr.
struct Running {
  SshAnswer answer;
  pid_t process = -1;
  FileDescriptor words;
};

Running start(const std::string& host, const std::vector<std::string>& agent) {
  Running running;
  running.answer.host = host;
  if (host.empty() || host.front() == '-') {  // would be an option of ssh
    running.answer.words = "not a host name";
    return running;
  }
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw Error(fmt::format("pipe: {}", std::strerror(errno)));
  running.words.reset(ends[0]);
  FileDescriptor theirs(ends[1]);
  auto words = agent;
  words.push_back(host);
  words.emplace_back("hostname");
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), 2);
  const int error = posix_spawnp(&running.process, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    running.process = -1;
    running.answer.words = fmt::format("{}: {}", agent.front(), std::strerror(error));
  }
  return running;
}

std::string last_line(const std::string& text) {
  std::istringstream stream(text);
  std::string line, last;
  while (std::getline(stream, line)) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty()) last = line;
  }
  return last;
}

/// Takes what there is to read; false at the end.
bool read_words(Running& one) {
  char piece[512];
  const auto n = read(one.words.get(), piece, sizeof piece);
  if (n <= 0) return false;
  if (one.answer.words.size() < most_words) one.answer.words.append(piece, static_cast<std::size_t>(n));
  return true;
}

/// @param limit_s  how long was waited where it is not in time
void end(Running& one, bool in_time, double seconds, double limit_s) {
  int status = 0;
  pid_t ended = 0;
  for (int tries = 0; in_time && ended == 0 && tries < 100; ++tries) {  // it closed its stderr: it is about to end
    ended = waitpid(one.process, &status, WNOHANG);
    if (ended == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  if (ended == 0) {
    kill(one.process, SIGKILL);
    while (waitpid(one.process, &status, 0) < 0 && errno == EINTR) {
    }
  }
  one.process = -1;
  one.answer.seconds = seconds;
  one.answer.good = in_time && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  one.answer.words = last_line(one.answer.words);
  if (!in_time) one.answer.words = fmt::format("no answer in {:.0f} s", limit_s);
  if (!one.answer.good && one.answer.words.empty())
    one.answer.words = fmt::format("exit code {}", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

/// stderr closes when the agent ends: that is what is waited for.
void wait_for_all(std::vector<Running>& batch, double limit_s) {
  const auto begin = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  const auto runs = [](const Running& one) { return one.process > 0; };
  while (std::any_of(batch.begin(), batch.end(), runs) && elapsed() < limit_s) {
    std::vector<pollfd> polled;
    for (const auto& one : batch) polled.push_back({runs(one) ? one.words.get() : -1, POLLIN, 0});
    if (poll(polled.data(), polled.size(), static_cast<int>((limit_s - elapsed()) * 1000) + 1) <= 0) continue;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (polled[i].revents != 0 && !read_words(batch[i])) end(batch[i], true, elapsed(), limit_s);
    }
  }
  for (auto& one : batch) {
    if (runs(one)) end(one, false, elapsed(), limit_s);
  }
}

/// What a person does about the usual answers.
struct Meaning {
  const char* part;
  const char* fix;
};
constexpr Meaning meanings[] = {
    {"Could not resolve", "write the name into DNS or /etc/hosts of every host, or the address into the hostfile"},
    {"Connection refused", "start sshd there (systemctl start ssh), or name its port in ~/.ssh/config"},
    {"Permission denied", "ssh-copy-id HOST, from the user who starts the job"},
    {"Host key verification failed", "ssh-keyscan HOST >> ~/.ssh/known_hosts, after a look at the key"},
    {"timed out", "is the host up, and port 22 open?"},
    {"No route to host", "is the host up and on this network?"},
    {"no answer", "is the host up? A login script that waits for input does this, too"},
    {"No such file", "install openssh-client, or name the program: --ssh"},
};

}  // namespace

std::vector<SshAnswer> ask_hosts(const std::vector<std::string>& hosts, const std::string& agent, double limit_s) {
  const auto words = agent_words(agent);
  std::vector<SshAnswer> answers;
  for (std::size_t begin = 0; begin < hosts.size(); begin += at_a_time) {
    std::vector<Running> batch;
    for (std::size_t i = begin; i < std::min(begin + at_a_time, hosts.size()); ++i)
      batch.push_back(start(hosts[i], words));
    wait_for_all(batch, limit_s);
    for (auto& one : batch) answers.push_back(std::move(one.answer));
  }
  return answers;
}

std::vector<Finding> check_ssh(const std::vector<SshAnswer>& answers) {
  std::vector<Finding> findings;
  for (const auto& answer : answers) {
    if (answer.good) continue;
    Finding f{Severity::error, "ssh", fmt::format("ssh does not start programs on {}: {}", answer.host, answer.words),
              answer.host, "`ssh " + answer.host + " hostname` must work without a question"};
    for (const auto& meaning : meanings) {
      if (answer.words.find(meaning.part) == std::string::npos) continue;
      f.fix = meaning.fix;
      break;
    }
    findings.push_back(std::move(f));
  }
  return findings;
}

}  // namespace dstrain
