// SPDX-License-Identifier: Apache-2.0
/// A program that `launch` runs and waits for, and the signals meanwhile.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster/environment_file.hpp"

namespace dstrain {

/// A file descriptor that is closed when its owner goes.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { close(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
  void close() noexcept;

 private:
  int fd_ = -1;
};

/// While it lives, signals that end or stop a job and ends of children come through descriptor(), one at a time, in
/// place of what they would do. One per process, made before any thread.
class SignalQueue {
 public:
  SignalQueue();
  SignalQueue(const SignalQueue&) = delete;
  SignalQueue& operator=(const SignalQueue&) = delete;
  ~SignalQueue();
  [[nodiscard]] int descriptor() const noexcept { return queue_.get(); }
  /// The next one that has come; 0 where there is none.
  int next() noexcept;

 private:
  Descriptor queue_;
};

/// A child in a process group of its own, so that a ^C reaches it through us alone.
class Child {
 public:
  struct Options {
    std::vector<EnvironmentVariable> set = {};
    std::vector<std::string> unset = {};
    bool piped = false;  ///< its stdout and stderr come through pipes; otherwise they are ours
  };

  /// Its stdin is empty. It gets SIGTERM where this process dies first. @throws Error  cannot be started
  Child(const std::vector<std::string>& words, const Options& options);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  /// Its exit code (128 + N where signal N ended it); none while it runs.
  std::optional<int> poll() noexcept;
  void send(int signal) noexcept;
  /// SIGKILL to it and everything that it started, also where that has a session of its own.
  void kill_all() noexcept;
  [[nodiscard]] Descriptor& out() noexcept { return out_; }
  [[nodiscard]] Descriptor& error() noexcept { return error_; }

 private:
  pid_t pid_ = -1;
  std::optional<int> code_;
  Descriptor out_, error_;
};

/// What a request to stop becomes: the first asks the ranks for a checkpoint (SIGUSR1, which mpirun and srun hand on),
/// the second ends the job, further ones at once.
class StopRequests {
 public:
  /// @param signal  SIGINT, SIGTERM, SIGHUP, SIGUSR1 or SIGUSR2
  void pass_on(int signal, Child& child) noexcept;

 private:
  int count_ = 0;
};

/// Runs a command to its end, handing signals on. @return its exit code
int run_to_end(const std::vector<std::string>& words, const Child::Options& options);

/// Whatever this process's children leave behind becomes its own child, so that kill_all finds it. Local.
void adopt_orphans() noexcept;

}  // namespace dstrain
