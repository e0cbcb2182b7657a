// SPDX-License-Identifier: Apache-2.0
#include "comm/logged_communicator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>

namespace dstrain {
namespace {

using Clock = std::chrono::steady_clock;

std::int64_t bytes_of(const ConstView& view) noexcept {
  return view.count * static_cast<std::int64_t>(size_of(view.dtype));
}

/// Share of the buffer that a link carries: nccl-tests' factor between algbw and busbw.
double bus_factor(CommOp op, int ranks) noexcept {
  const double n = ranks;
  switch (op) {
    case CommOp::reduce_scatter:
    case CommOp::all_gather:
      return (n - 1) / n;
    case CommOp::all_reduce:
      return 2 * (n - 1) / n;
    default:
      return 1.0;
  }
}

std::string bytes_text(double bytes) {
  if (bytes >= 1e9) return fmt::format("{:.2f} GB", bytes * 1e-9);
  if (bytes >= 1e6) return fmt::format("{:.2f} MB", bytes * 1e-6);
  if (bytes >= 1e3) return fmt::format("{:.2f} KB", bytes * 1e-3);
  return fmt::format("{:.0f} B", bytes);
}

}  // namespace

LoggedCommunicator::LoggedCommunicator(Communicator& inner) : inner_(inner) { records_.reserve(128); }

template <typename Call>
void LoggedCommunicator::timed(CommOp op, const char* label, std::int64_t bytes, const Call& call) {
  const auto begin = Clock::now();
  call();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  seconds_ += seconds;
  const auto same = [&](const CommRecord& r) {
    return r.op == op && (r.label == label || std::strcmp(r.label, label) == 0);
  };
  auto at = std::find_if(records_.begin(), records_.end(), same);
  if (at == records_.end()) at = records_.insert(records_.end(), {.op = op, .label = label});
  ++at->calls;
  at->bytes += bytes;
  at->seconds += seconds;
}

void LoggedCommunicator::reduce_scatter(std::span<const ReduceScatterPart> parts, int contributors, bool two_level,
                                        Stream stream, const char* label) {
  std::int64_t bytes = 0;
  for (const auto& part : parts) bytes += bytes_of(part.full);
  timed(CommOp::reduce_scatter, label, bytes,
        [&] { inner_.reduce_scatter(parts, contributors, two_level, stream, label); });
}

void LoggedCommunicator::all_gather(std::span<const AllGatherPart> parts, Stream stream, const char* label) {
  std::int64_t bytes = 0;
  for (const auto& part : parts) bytes += bytes_of(part.full);
  timed(CommOp::all_gather, label, bytes, [&] { inner_.all_gather(parts, stream, label); });
}

void LoggedCommunicator::all_reduce(View values, ReduceOp op, Stream stream, const char* label) {
  timed(CommOp::all_reduce, label, bytes_of(values), [&] { inner_.all_reduce(values, op, stream, label); });
}

void LoggedCommunicator::broadcast(View values, int root, Stream stream, const char* label) {
  timed(CommOp::broadcast, label, bytes_of(values), [&] { inner_.broadcast(values, root, stream, label); });
}

void LoggedCommunicator::barrier(const char* label) {
  timed(CommOp::barrier, label, 0, [&] { inner_.barrier(label); });
}

void LoggedCommunicator::send(ConstView values, int to, const char* label) {
  timed(CommOp::send, label, bytes_of(values), [&] { inner_.send(values, to, label); });
}

void LoggedCommunicator::recv(View values, int from, const char* label) {
  timed(CommOp::recv, label, bytes_of(values), [&] { inner_.recv(values, from, label); });
}

std::string comm_table(const std::vector<CommRecord>& records, int ranks) {
  std::string text = fmt::format("{:<15} {:<26} {:>8} {:>12} {:>12} {:>10} {:>9} {:>11} {:>11}\n", "operation", "of",
                                 "calls", "per call", "in all", "total ms", "mean ms", "algbw GB/s", "busbw GB/s");
  double seconds = 0.0, bytes = 0.0;
  std::int64_t calls = 0;
  for (const CommRecord& r : records) {
    const auto size = static_cast<double>(r.bytes);
    const double bandwidth = r.seconds > 0 ? size / r.seconds * 1e-9 : 0.0;
    text += fmt::format("{:<15} {:<26} {:>8} {:>12} {:>12} {:>10.2f} {:>9.3f} {:>11.3f} {:>11.3f}\n", name_of(r.op),
                        r.label, r.calls, bytes_text(size / static_cast<double>(r.calls)), bytes_text(size),
                        r.seconds * 1e3, r.seconds * 1e3 / static_cast<double>(r.calls), bandwidth,
                        bandwidth * bus_factor(r.op, ranks));
    seconds += r.seconds;
    bytes += size;
    calls += r.calls;
  }
  return text +
         fmt::format("{:<42} {:>8} {:>12} {:>12} {:>10.2f}\n", "all", calls, "", bytes_text(bytes), seconds * 1e3);
}

}  // namespace dstrain
