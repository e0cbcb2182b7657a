// SPDX-License-Identifier: Apache-2.0
#include "comm/flight_recorder.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>

namespace dstrain {

std::string describe(const FlightEntry& entry) {
  const bool labelled = entry.label != nullptr && *entry.label != '\0';
  const char* direction = entry.op == CommOp::send ? "to" : "from";
  return fmt::format("{} #{}{}{}{}", name_of(entry.op), entry.sequence, labelled ? ", " : "",
                     labelled ? entry.label : "",
                     entry.peer < 0 ? "" : fmt::format(", {} rank {}", direction, entry.peer));
}

std::int64_t FlightRecorder::now_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::uint64_t FlightRecorder::begin(CommOp op, const char* label, std::int64_t bytes, std::int32_t peer) noexcept {
  const std::uint64_t ticket = tickets_.fetch_add(1, std::memory_order_relaxed) + 1;
  auto& counter = op == CommOp::send || op == CommOp::recv ? transfers_ : collectives_;
  Slot& slot = slots_[ticket % capacity];
  slot.ticket.store(0, std::memory_order_relaxed);  // unreadable while it changes
  std::atomic_thread_fence(std::memory_order_release);
  slot.sequence.store(counter.fetch_add(1, std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  slot.op.store(op, std::memory_order_relaxed);
  slot.label.store(label == nullptr ? "" : label, std::memory_order_relaxed);
  slot.bytes.store(bytes, std::memory_order_relaxed);
  slot.begin_ns.store(now_ns(), std::memory_order_relaxed);
  slot.end_ns.store(0, std::memory_order_relaxed);
  slot.peer.store(peer, std::memory_order_relaxed);
  slot.ticket.store(ticket, std::memory_order_release);
  return ticket;
}

void FlightRecorder::end(std::uint64_t ticket) noexcept {
  Slot& slot = slots_[ticket % capacity];
  if (slot.ticket.load(std::memory_order_relaxed) == ticket) slot.end_ns.store(now_ns(), std::memory_order_release);
}

bool FlightRecorder::read(std::uint64_t ticket, FlightEntry& entry) const noexcept {
  const Slot& slot = slots_[ticket % capacity];
  if (slot.ticket.load(std::memory_order_acquire) != ticket) return false;
  entry = {slot.sequence.load(std::memory_order_relaxed), slot.op.load(std::memory_order_relaxed),
           slot.label.load(std::memory_order_relaxed),    slot.bytes.load(std::memory_order_relaxed),
           slot.begin_ns.load(std::memory_order_relaxed), slot.end_ns.load(std::memory_order_relaxed),
           slot.peer.load(std::memory_order_relaxed)};
  std::atomic_thread_fence(std::memory_order_acquire);
  return slot.ticket.load(std::memory_order_relaxed) == ticket;
}

std::vector<FlightEntry> FlightRecorder::entries() const {
  const std::uint64_t last = tickets_.load(std::memory_order_acquire);
  std::vector<FlightEntry> result;
  for (std::uint64_t ticket = last < capacity ? 1 : last - capacity + 1; ticket <= last; ++ticket) {
    if (FlightEntry entry; read(ticket, entry)) result.push_back(entry);
  }
  return result;
}

bool FlightRecorder::oldest_open(FlightEntry& entry) const noexcept {
  const std::uint64_t last = tickets_.load(std::memory_order_acquire);
  for (std::uint64_t ticket = last < capacity ? 1 : last - capacity + 1; ticket <= last; ++ticket) {
    if (read(ticket, entry) && entry.open()) return true;
  }
  return false;
}

bool FlightRecorder::newest(FlightEntry& entry) const noexcept {
  const std::uint64_t last = tickets_.load(std::memory_order_acquire);
  return last > 0 && read(last, entry);
}

}  // namespace dstrain
