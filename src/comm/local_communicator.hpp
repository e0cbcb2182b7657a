// SPDX-License-Identifier: Apache-2.0
/// One rank: every collective is a copy or nothing.
#pragma once

#include <vector>

#include "comm/communicator.hpp"

namespace dstrain {

/// A group of one rank, without MPI. Every call checks its arguments like the others do.
class LocalCommunicator final : public Communicator {
 public:
  LocalCommunicator() = default;
  ~LocalCommunicator() override;

  [[nodiscard]] int rank() const noexcept override { return 0; }
  [[nodiscard]] int size() const noexcept override { return 1; }
  using Communicator::all_gather;
  using Communicator::reduce_scatter;
  void reduce_scatter(std::span<const ReduceScatterPart> parts, int contributors, bool two_level, Stream stream,
                      const char* label) override;
  void all_gather(std::span<const AllGatherPart> parts, Stream stream, const char* label) override;
  void all_reduce(View values, ReduceOp op, Stream stream, const char* label) override;
  void broadcast(View values, int root, Stream stream, const char* label) override;
  void barrier(const char* label) override;
  /// @throws ShapeError always: there is no other rank.
  void send(ConstView values, int to, const char* label) override;
  void recv(View values, int from, const char* label) override;
  [[nodiscard]] void* allocate_registered(std::int64_t bytes) override;
  void close() override {}
  /// Prints the reason and ends the process with `exit_code`.
  void abort(std::string_view reason, int exit_code) noexcept override;

 private:
  struct Mapping {
    void* base;
    std::int64_t bytes;
  };
  std::vector<Mapping> mappings_;
};

}  // namespace dstrain
