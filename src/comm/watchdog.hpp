// SPDX-License-Identifier: Apache-2.0
/// Ends a job whose collectives never end.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "comm/flight_recorder.hpp"

namespace dstrain {

/// What a watchdog calls, each from its own thread. Unset ones are not called.
struct WatchdogHooks {
  std::function<void()> look;                                     ///< at every look, whatever the rank does
  std::function<void(const FlightEntry&, double age_s)> waiting;  ///< at every look while a call is open
  /// Once: "waits 600 s in reduce_scatter #1841, layer 12 backward", and the call.
  std::function<void(const std::string&, const FlightEntry&)> timeout;
};

/// A thread that looks at the flight recorder twice a second (more often for short timeouts).
///
/// When a call has been open for longer than the timeout, it calls `timeout` once and ends. The destructor stops the
/// thread and never waits for another rank.
class Watchdog {
 public:
  Watchdog(const FlightRecorder& recorder, double timeout_s, WatchdogHooks hooks);
  Watchdog(const FlightRecorder& recorder, double timeout_s, std::function<void(const std::string&)> on_timeout);
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog();

 private:
  void watch();
  bool look();  ///< @return the timeout has come

  const FlightRecorder& recorder_;
  double timeout_s_;
  WatchdogHooks hooks_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace dstrain
