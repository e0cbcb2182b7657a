// SPDX-License-Identifier: Apache-2.0
#include "comm/plan_communicator.hpp"

#include <cstdio>
#include <cstdlib>

#include "comm/plain_memory.hpp"
#include "core/error.hpp"

namespace dstrain {
namespace {

void check_counts(std::int64_t full, std::int64_t shard, int size, const char* label) {
  if (shard < 0 || full != shard * size) {
    throw ShapeError(
        fmt::format("\"{}\": full has {} elements, shards have {}, and there are {} ranks", label, full, shard, size));
  }
}

}  // namespace

PlanCommunicator::PlanCommunicator(int rank, int size) : rank_(rank), size_(size) {
  DSTRAIN_CHECK(size > 0 && rank >= 0 && rank < size, "rank {} of {} pretended ranks", rank, size);
}

PlanCommunicator::~PlanCommunicator() {
  for (const auto& mapping : mappings_) unmap_plain_memory(mapping.base, mapping.bytes);
}

CommCount& PlanCommunicator::record(CommOp op, std::int64_t buffers, std::int64_t buffer_bytes,
                                    std::int64_t moved_bytes) {
  CommCount& count = counts_[static_cast<std::size_t>(op)];
  ++count.calls;
  count.buffers += buffers;
  count.buffer_bytes += buffer_bytes;
  count.moved_bytes += moved_bytes;
  return count;
}

void PlanCommunicator::reduce_scatter(std::span<const ReduceScatterPart> parts, int contributors, bool, Stream,
                                      const char* label) {
  DSTRAIN_CHECK(contributors >= 0 && contributors <= size_, "\"{}\": {} contributors among {} ranks", label,
                contributors, size_);
  std::int64_t full_bytes = 0;
  for (const auto& part : parts) {
    check_counts(part.full.count, part.shard.count, size_, label);
    full_bytes += part.full.bytes();
  }
  const std::int64_t moved = rank_ < contributors ? full_bytes / size_ * (size_ - 1) : 0;
  record(CommOp::reduce_scatter, static_cast<std::int64_t>(parts.size()), full_bytes, moved);
}

void PlanCommunicator::all_gather(std::span<const AllGatherPart> parts, Stream, const char* label) {
  std::int64_t full_bytes = 0;
  for (const auto& part : parts) {
    check_counts(part.full.count, part.shard.count, size_, label);
    full_bytes += part.full.bytes();
  }
  record(CommOp::all_gather, static_cast<std::int64_t>(parts.size()), full_bytes, full_bytes / size_ * (size_ - 1));
}

void PlanCommunicator::all_reduce(View values, ReduceOp, Stream, const char*) {
  record(CommOp::all_reduce, 1, values.bytes(), values.bytes() * (size_ - 1));  // everyone's values go to everyone
}

void PlanCommunicator::broadcast(View values, int root, Stream, const char* label) {
  DSTRAIN_CHECK(root >= 0 && root < size_, "\"{}\": root {} of {} ranks", label, root, size_);
  record(CommOp::broadcast, 1, values.bytes(), values.bytes() * (size_ - 1) / size_);
}

void PlanCommunicator::barrier(const char*) { record(CommOp::barrier, 0, 0, 0); }
void PlanCommunicator::send(ConstView values, int, const char*) {
  record(CommOp::send, 1, values.bytes(), values.bytes());
}
void PlanCommunicator::recv(View values, int, const char*) { record(CommOp::recv, 1, values.bytes(), 0); }
void PlanCommunicator::close() { record(CommOp::close, 0, 0, 0); }

void* PlanCommunicator::allocate_registered(std::int64_t bytes) {
  record(CommOp::allocate, 1, bytes, 0);
  void* base = map_plain_memory(bytes);
  mappings_.push_back({base, bytes});
  return base;
}

void PlanCommunicator::abort(std::string_view reason, int exit_code) noexcept {
  std::fprintf(stderr, "error: %.*s\n", static_cast<int>(reason.size()), reason.data());
  std::fflush(nullptr);
  std::_Exit(exit_code);
}

}  // namespace dstrain
