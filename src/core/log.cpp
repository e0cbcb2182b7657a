// SPDX-License-Identifier: Apache-2.0
#include "core/log.hpp"

#include <atomic>
#include <cstdio>
#include <mutex>

namespace dstrain::log {
namespace {

struct State {
  std::mutex mutex;
  int rank = 0;
  int world_size = 1;
  std::string host;
};

// The one mutable global of dstrain: messages are wanted from places that no communicator reaches.
State& state() {
  static State instance;
  return instance;
}
std::atomic<Level> threshold{Level::info};

std::string_view prefix_of(Level level) noexcept {
  switch (level) {
    case Level::debug:
      return "debug: ";
    case Level::info:
      return "";
    case Level::warning:
      return "warning: ";
    case Level::error:
      return "error: ";
  }
  return "";
}

}  // namespace

void set_rank(int rank, int world_size, std::string host) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.rank = rank;
  s.world_size = world_size;
  s.host = std::move(host);
}

void set_level(Level level) { threshold.store(level, std::memory_order_relaxed); }

std::string tag() {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  return fmt::format("{}@{}", s.rank, s.host.empty() ? "localhost" : s.host);
}

void write(Level level, std::string_view message) {
  if (level < threshold.load(std::memory_order_relaxed)) return;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (s.rank != 0 && level != Level::error) return;
  std::string line(prefix_of(level));
  line += message;
  if (level == Level::error && s.world_size > 1) line += fmt::format(" ({}@{})", s.rank, s.host);
  line += '\n';
  // One call per line: the lines of several ranks must not run into each other.
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

}  // namespace dstrain::log
