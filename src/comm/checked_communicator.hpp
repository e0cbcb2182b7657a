// SPDX-License-Identifier: Apache-2.0
/// A communicator that finds out when ranks call different things.
#pragma once

#include <cstdint>
#include <memory>

#include "comm/comm_op.hpp"
#include "comm/communicator.hpp"

namespace dstrain {

/// Wraps another communicator. Before each collective all ranks compare what they are about to call: sequence number,
/// operation, counts, dtypes, root, label. Where they differ, every rank throws CommError with the list of who called
/// what, and nothing was sent. Costs one small all_reduce per call: for tests and the `checked` preset.
class CheckedCommunicator final : public Communicator {
 public:
  explicit CheckedCommunicator(std::unique_ptr<Communicator> inner);

  [[nodiscard]] int rank() const noexcept override { return inner_->rank(); }
  [[nodiscard]] int size() const noexcept override { return inner_->size(); }
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
  [[nodiscard]] void* allocate_registered(std::int64_t bytes) override;
  void set_timeout(double seconds) override { inner_->set_timeout(seconds); }
  void close() override;
  void abort(std::string_view reason, int exit_code) noexcept override { inner_->abort(reason, exit_code); }

 private:
  /// Throws on all ranks where `call` (with its number) is not the same everywhere. Collective.
  void compare(CommOp op, const std::string& arguments, const char* label);

  std::unique_ptr<Communicator> inner_;
  std::uint64_t sequence_ = 0;
};

}  // namespace dstrain
