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

/// A thread that looks at the flight recorder once a second (more often for short timeouts).
///
/// When a call has been open for longer than the timeout, it calls `on_timeout` with "waits 600 s in reduce_scatter
/// #1841, layer 12 backward" once, from its own thread. The destructor stops the thread and never waits for another
/// rank.
class Watchdog {
 public:
  Watchdog(const FlightRecorder& recorder, double timeout_s, std::function<void(const std::string&)> on_timeout);
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog();

 private:
  void watch();

  const FlightRecorder& recorder_;
  double timeout_s_;
  std::function<void(const std::string&)> on_timeout_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace dstrain
