// SPDX-License-Identifier: Apache-2.0
/// A PlanCommunicator behind calls that tests replace one by one.
#pragma once

#include "comm/plan_communicator.hpp"

namespace dstrain::test {

/// Hands every call on to a PlanCommunicator.
class PlanBackedCommunicator : public Communicator {
 public:
  PlanBackedCommunicator(int rank, int size) : plan_(rank, size) {}

  [[nodiscard]] const CommCount& count(CommOp op) const noexcept { return plan_.count(op); }
  void reset_counts() noexcept { plan_.reset_counts(); }

  [[nodiscard]] int rank() const noexcept override { return plan_.rank(); }
  [[nodiscard]] int size() const noexcept override { return plan_.size(); }
  using Communicator::all_gather;
  using Communicator::reduce_scatter;
  void reduce_scatter(std::span<const ReduceScatterPart> parts, int contributors, bool two_level, Stream stream,
                      const char* label) override {
    plan_.reduce_scatter(parts, contributors, two_level, stream, label);
  }
  void all_gather(std::span<const AllGatherPart> parts, Stream stream, const char* label) override {
    plan_.all_gather(parts, stream, label);
  }
  void all_reduce(View v, ReduceOp op, Stream s, const char* label) override { plan_.all_reduce(v, op, s, label); }
  void broadcast(View v, int root, Stream s, const char* label) override { plan_.broadcast(v, root, s, label); }
  void barrier(const char* label) override { plan_.barrier(label); }
  void send(ConstView v, int to, const char* label) override { plan_.send(v, to, label); }
  void recv(View v, int from, const char* label) override { plan_.recv(v, from, label); }
  [[nodiscard]] void* allocate_registered(std::int64_t bytes) override { return plan_.allocate_registered(bytes); }
  void close() override { plan_.close(); }
  void abort(std::string_view reason, int exit_code) noexcept override { plan_.abort(reason, exit_code); }

 private:
  PlanCommunicator plan_;
};

}  // namespace dstrain::test
