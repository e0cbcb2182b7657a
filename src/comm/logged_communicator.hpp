// SPDX-License-Identifier: Apache-2.0
/// A communicator that counts: calls, bytes and time of each kind of collective.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/comm_op.hpp"
#include "comm/communicator.hpp"

namespace dstrain {

/// What one operation under one label came to.
struct CommRecord {
  CommOp op = CommOp::barrier;
  const char* label = "";
  std::int64_t calls = 0;
  std::int64_t bytes = 0;  ///< of `full`, or of the values
  double seconds = 0.0;    ///< waiting for other ranks included
};

/// Wraps another communicator, which must outlive it. Used only where somebody asked for the numbers: a run without
/// them has the communicator itself. Each call costs two looks at the clock and a search in a short list.
class LoggedCommunicator final : public Communicator {
 public:
  explicit LoggedCommunicator(Communicator& inner);

  /// In the order of the first call. Local.
  [[nodiscard]] const std::vector<CommRecord>& records() const noexcept { return records_; }
  /// Seconds inside all calls so far. Local.
  [[nodiscard]] double seconds() const noexcept { return seconds_; }

  [[nodiscard]] int rank() const noexcept override { return inner_.rank(); }
  [[nodiscard]] int size() const noexcept override { return inner_.size(); }
  using Communicator::all_gather;
  using Communicator::reduce_scatter;
  void reduce_scatter(std::span<const ReduceScatterPart> parts, int contributors, bool two_level, Stream stream,
                      const char* label) override;
  void all_gather(std::span<const AllGatherPart> parts, Stream stream, const char* label) override;
  void all_reduce(View values, ReduceOp op, Stream stream, const char* label) override;
  void broadcast(View values, int root, Stream stream, const char* label) override;
  void barrier(const char* label) override;
  void send(ConstView values, int to, const char* label) override;
  void recv(View values, int from, const char* label) override;
  [[nodiscard]] void* allocate_registered(std::int64_t bytes) override { return inner_.allocate_registered(bytes); }
  void set_timeout(double seconds) override { inner_.set_timeout(seconds); }
  void close() override { inner_.close(); }
  void abort(std::string_view reason, int exit_code) noexcept override { inner_.abort(reason, exit_code); }

 private:
  template <typename Call>
  void timed(CommOp op, const char* label, std::int64_t bytes, const Call& call);

  Communicator& inner_;
  std::vector<CommRecord> records_;
  double seconds_ = 0.0;
};

/// A table with a line for each record: calls, size of a message, milliseconds, and the bandwidths of nccl-tests: algbw
/// = bytes / time, busbw = what each rank's link carried. Local, pure.
std::string comm_table(const std::vector<CommRecord>& records, int ranks);

}  // namespace dstrain
