// SPDX-License-Identifier: Apache-2.0
/// Rank r of N pretended ranks in one process: nothing moves, everything is counted.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "comm/comm_op.hpp"
#include "comm/communicator.hpp"

namespace dstrain {

/// Calls and bytes of one operation.
struct CommCount {
  std::int64_t calls = 0;
  std::int64_t buffers = 0;       ///< parts of grouped calls
  std::int64_t buffer_bytes = 0;  ///< of `full`, or of the values
  std::int64_t moved_bytes =
      0;  ///< sent by this rank, averaged over the ranks: (size-1)/size of `full` for gather and reduce
};

/// Used by `plan` and by the tests of zero/. Data is neither read nor written (a rank's own values stay what they are),
/// so pointers may be null; counts and dtypes are checked as elsewhere. Every call is local.
class PlanCommunicator final : public Communicator {
 public:
  /// @throws Error  rank outside [0, size)
  PlanCommunicator(int rank, int size);
  ~PlanCommunicator() override;

  [[nodiscard]] const CommCount& count(CommOp op) const noexcept { return counts_[static_cast<std::size_t>(op)]; }
  void reset_counts() noexcept { counts_ = {}; }

  [[nodiscard]] int rank() const noexcept override { return rank_; }
  [[nodiscard]] int size() const noexcept override { return size_; }
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
  /// Real memory (taken when touched), so that an Arena can stand on it.
  [[nodiscard]] void* allocate_registered(std::int64_t bytes) override;
  void close() override;
  [[noreturn]] void abort(std::string_view reason, int exit_code) noexcept override;

 private:
  CommCount& record(CommOp op, std::int64_t buffers, std::int64_t buffer_bytes, std::int64_t moved_bytes);

  int rank_;
  int size_;
  std::array<CommCount, comm_ops> counts_{};
  struct Mapping {
    void* base;
    std::int64_t bytes;
  };
  std::vector<Mapping> mappings_;
};

}  // namespace dstrain
