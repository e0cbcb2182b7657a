// SPDX-License-Identifier: Apache-2.0
/// The last calls of a communicator, written without locks or allocation, read by the watchdog.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "comm/comm_op.hpp"

namespace dstrain {

/// One call, as a reader sees it.
struct FlightEntry {
  std::uint64_t sequence = 0;  ///< from 1; collectives and point-to-point calls are counted apart, so that the
                               ///< collective #1841 is the same one on every rank
  CommOp op = CommOp::barrier;
  const char* label = "";
  std::int64_t bytes = 0;
  std::int64_t begin_ns = 0;  ///< of the steady clock
  std::int64_t end_ns = 0;    ///< 0: not over yet
  std::int32_t peer = -1;     ///< of send and recv
  [[nodiscard]] bool open() const noexcept { return end_ns == 0; }
};

/// "reduce_scatter #1841, layer 12 backward"; "recv #3, micro-batch, from rank 0"
std::string describe(const FlightEntry& entry);

/// A ring of the last 256 calls. Any thread may begin and end calls and read, at any time.
class FlightRecorder {
 public:
  static constexpr std::uint64_t capacity = 256;

  /// Notes the begin of a call and gives the ticket for end(). `label` must outlive the recorder.
  /// @param peer  of send and recv
  std::uint64_t begin(CommOp op, const char* label, std::int64_t bytes, std::int32_t peer = -1) noexcept;
  void end(std::uint64_t ticket) noexcept;

  /// The calls still in the ring, oldest first. Entries that are being overwritten meanwhile are left out.
  [[nodiscard]] std::vector<FlightEntry> entries() const;
  /// Reads the call that has been open longest. Without one, false.
  [[nodiscard]] bool oldest_open(FlightEntry& entry) const noexcept;
  /// Reads the call that began last. Before the first, false.
  [[nodiscard]] bool newest(FlightEntry& entry) const noexcept;

  /// Now, in the clock of the entries.
  static std::int64_t now_ns() noexcept;

  /// A call from construction to destruction, also when it throws.
  class Call {
   public:
    Call(FlightRecorder& recorder, CommOp op, const char* label, std::int64_t bytes, std::int32_t peer = -1) noexcept
        : recorder_(recorder), ticket_(recorder.begin(op, label, bytes, peer)) {}
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() { recorder_.end(ticket_); }

   private:
    FlightRecorder& recorder_;
    std::uint64_t ticket_;
  };

 private:
  /// All atomics, so that a reader beside a writer is defined; `ticket` is written last and changes with every reuse.
  struct Slot {
    std::atomic<std::uint64_t> ticket{0};
    std::atomic<std::uint64_t> sequence{0};
    std::atomic<CommOp> op{CommOp::barrier};
    std::atomic<const char*> label{""};
    std::atomic<std::int64_t> bytes{0};
    std::atomic<std::int64_t> begin_ns{0};
    std::atomic<std::int64_t> end_ns{0};
    std::atomic<std::int32_t> peer{-1};
  };
  bool read(std::uint64_t ticket, FlightEntry& entry) const noexcept;

  std::array<Slot, capacity> slots_;
  std::atomic<std::uint64_t> tickets_{0};
  std::atomic<std::uint64_t> collectives_{0};
  std::atomic<std::uint64_t> transfers_{0};
};

}  // namespace dstrain
