// SPDX-License-Identifier: Apache-2.0
/// What the streams of a device were given, in the order of the host's calls, and what that leaves open.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dstrain {

struct Operation {
  enum class Kind : std::uint8_t { work, record, wait, synchronize };
  struct Access {
    const void* at = nullptr;
    std::int64_t bytes = 0;
    bool write = false;
  };
  Kind kind = Kind::work;
  std::string name;
  const void* stream = nullptr;
  const void* event = nullptr;   ///< of record and wait; of synchronize where the host waits for one
  std::vector<Access> accesses;  ///< of work

  /// One more access to the first element at `at`; none where that is null.
  void touch(const void* at, bool write);
};

/// A piece of work and the order that streams, events and the host's waits give it: a vector clock, Mattern's "Virtual
/// Time and Global States of Distributed Systems" (1989).
struct OrderedWork {
  std::size_t operation = 0;       ///< its index in the log
  std::size_t stream = 0;          ///< number of its stream, in the order of first use
  std::vector<std::int64_t> seen;  ///< by stream: how many of that stream's works come before or are this one

  /// Both may run at the same time.
  [[nodiscard]] bool beside(const OrderedWork& other) const noexcept;
};

/// The works of a log. Events count as CUDA's: a wait means the record before it, and none where there was none.
std::vector<OrderedWork> order_of(const std::vector<Operation>& log);

/// One line for every pair of works that nothing orders although one writes what the other reads or writes.
std::vector<std::string> races_in(const std::vector<Operation>& log);

}  // namespace dstrain
