// SPDX-License-Identifier: Apache-2.0
#include "cluster/launch/child.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "core/error.hpp"

namespace dstrain {
namespace {

constexpr std::array<int, 6> queued = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};

sigset_t queued_set() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : queued) sigaddset(&set, signal);
  return set;
}

/// Parents of all processes, from /proc.
std::multimap<pid_t, pid_t> children_by_parent() {
  std::multimap<pid_t, pid_t> children;
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc", error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    pid_t pid = 0;
    const auto [stopped, wrong] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (wrong != std::errc() || stopped != name.data() + name.size()) continue;
    std::ifstream file(entry->path() / "stat");
    std::string text((std::istreambuf_iterator<char>(file)), {});
    const auto bracket = text.rfind(')');  // a program's name may hold blanks and brackets
    if (bracket == std::string::npos || bracket + 4 > text.size()) continue;
    children.emplace(static_cast<pid_t>(std::atoi(text.c_str() + bracket + 4)), pid);
  }
  return children;
}

void kill_below(pid_t parent, const std::multimap<pid_t, pid_t>& children, int depth) {
  if (depth > 64) return;
  const auto [first, last] = children.equal_range(parent);
  for (auto at = first; at != last; ++at) {
    kill_below(at->second, children, depth + 1);
    ::kill(at->second, SIGKILL);
  }
}

[[noreturn]] void become(const std::vector<std::string>& words, const Child::Options& options, int out, int error,
                         pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(127);
  for (const auto& name : options.unset) unsetenv(name.c_str());
  for (const auto& [name, value] : options.set) setenv(name.c_str(), value.c_str(), 1);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  if (options.piped) {
    dup2(out, STDOUT_FILENO);
    dup2(error, STDERR_FILENO);
  }
  const sigset_t set = queued_set();
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  std::vector<char*> argv;
  for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  const std::string text = fmt::format("error: cannot run {}: {}\n", words.front(), std::strerror(errno));
  (void)!write(STDERR_FILENO, text.data(), text.size());
  _exit(127);
}

std::pair<Descriptor, Descriptor> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw Error(fmt::format("no pipe: {}", std::strerror(errno)));
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

}  // namespace

void Descriptor::close() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

SignalQueue::SignalQueue() {
  const sigset_t set = queued_set();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  queue_ = Descriptor(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!queue_) throw Error(fmt::format("signals cannot be queued: {}", std::strerror(errno)));
}

SignalQueue::~SignalQueue() {
  const sigset_t set = queued_set();
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

int SignalQueue::next() noexcept {
  signalfd_siginfo info;
  const auto got = read(queue_.get(), &info, sizeof info);
  return got == static_cast<ssize_t>(sizeof info) ? static_cast<int>(info.ssi_signo) : 0;
}

Child::Child(const std::vector<std::string>& words, const Options& options) {
  std::pair<Descriptor, Descriptor> out, error;
  if (options.piped) {
    out = make_pipe();
    error = make_pipe();
  }
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) throw Error(fmt::format("cannot start {}: {}", words.front(), std::strerror(errno)));
  if (pid_ == 0) become(words, options, out.second.get(), error.second.get(), parent);
  setpgid(pid_, pid_);
  out_ = std::move(out.first);
  error_ = std::move(error.first);
}

Child::~Child() {
  if (poll()) return;
  kill_all();
  waitpid(pid_, nullptr, 0);
}

std::optional<int> Child::poll() noexcept {
  if (code_) return code_;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return code_;
}

void Child::send(int signal) noexcept {
  if (!code_) ::kill(pid_, signal);
}

void Child::kill_all() noexcept {
  try {
    kill_below(getpid(), children_by_parent(), 0);
  } catch (const std::exception&) {  // no memory: at least the group
  }
  if (!code_) ::kill(-pid_, SIGKILL);
}

void StopRequests::pass_on(int signal, Child& child) noexcept {
  if (signal == SIGUSR1 || signal == SIGUSR2) return child.send(signal);
  ++count_;
  if (count_ == 1) return child.send(SIGUSR1);
  if (count_ == 2) return child.send(SIGTERM);
  child.kill_all();
}

int run_to_end(const std::vector<std::string>& words, const Child::Options& options) {
  SignalQueue signals;
  Child child(words, options);
  StopRequests stops;
  for (;;) {
    if (const auto code = child.poll()) return *code;
    pollfd waiting{signals.descriptor(), POLLIN, 0};
    ::poll(&waiting, 1, 1000);
    while (const int signal = signals.next()) {
      if (signal != SIGCHLD) stops.pass_on(signal, child);
    }
  }
}

void adopt_orphans() noexcept { prctl(PR_SET_CHILD_SUBREAPER, 1); }

}  // namespace dstrain
