// SPDX-License-Identifier: Apache-2.0
#include "comm/watchdog.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>

namespace dstrain {

Watchdog::Watchdog(const FlightRecorder& recorder, double timeout_s, std::function<void(const std::string&)> on_timeout)
    : recorder_(recorder), timeout_s_(timeout_s), on_timeout_(std::move(on_timeout)), thread_([this] { watch(); }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Watchdog::watch() {
  const auto interval = std::chrono::duration<double>(std::clamp(timeout_s_ / 4, 0.01, 1.0));
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, interval, [this] { return stopping_; })) {
    FlightEntry entry;
    if (!recorder_.oldest_open(entry)) continue;
    const double age_s = static_cast<double>(FlightRecorder::now_ns() - entry.begin_ns) * 1e-9;
    if (age_s < timeout_s_) continue;
    lock.unlock();
    on_timeout_(fmt::format("waits {:.3g} s in {}", age_s, describe(entry)));
    return;
  }
}

}  // namespace dstrain
