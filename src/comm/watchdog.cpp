// SPDX-License-Identifier: Apache-2.0
#include "comm/watchdog.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>

namespace dstrain {

Watchdog::Watchdog(const FlightRecorder& recorder, double timeout_s, WatchdogHooks hooks)
    : recorder_(recorder), timeout_s_(timeout_s), hooks_(std::move(hooks)), thread_([this] { watch(); }) {}

Watchdog::Watchdog(const FlightRecorder& recorder, double timeout_s, std::function<void(const std::string&)> on_timeout)
    : Watchdog(recorder, timeout_s,
               WatchdogHooks{.look = {},
                             .waiting = {},
                             .timeout = [call = std::move(on_timeout)](const std::string& where, const FlightEntry&) {
                               call(where);
                             }}) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Watchdog::watch() {
  const auto interval = std::chrono::duration<double>(std::clamp(timeout_s_ / 50, 0.01, 0.5));
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, interval, [this] { return stopping_; })) {
    lock.unlock();  // a hook may take its time: the destructor must not wait for the lock then
    if (look()) return;
    lock.lock();
  }
}

bool Watchdog::look() {
  if (hooks_.look) hooks_.look();
  FlightEntry entry;
  if (!recorder_.oldest_open(entry)) return false;
  const double age_s = static_cast<double>(FlightRecorder::now_ns() - entry.begin_ns) * 1e-9;
  if (age_s < timeout_s_) {
    if (hooks_.waiting) hooks_.waiting(entry, age_s);
    return false;
  }
  if (hooks_.timeout) hooks_.timeout(fmt::format("waits {:.3g} s in {}", age_s, describe(entry)), entry);
  return true;
}

}  // namespace dstrain
