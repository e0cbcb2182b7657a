// SPDX-License-Identifier: Apache-2.0
#include "comm/local_communicator.hpp"

#include <cstdio>
#include <cstdlib>

#include "comm/fold.hpp"
#include "comm/plain_memory.hpp"
#include "comm/shape_checks.hpp"
#include "core/error.hpp"

namespace dstrain {

LocalCommunicator::~LocalCommunicator() {
  for (const auto& mapping : mappings_) unmap_plain_memory(mapping.base, mapping.bytes);
}

void LocalCommunicator::reduce_scatter(std::span<const ReduceScatterPart> parts, int contributors, bool, Stream,
                                       const char* label) {
  check_reduce_scatter(parts, contributors, 0, 1, label);
  for (const auto& part : parts) {
    const void* sources[] = {part.full.data};
    fold_sum(part.shard.as<float>(), std::span(sources, static_cast<std::size_t>(contributors)), part.full.dtype,
             part.shard.count, part.accumulate);
  }
}

void LocalCommunicator::all_gather(std::span<const AllGatherPart> parts, Stream, const char* label) {
  check_all_gather(parts, 1, label);
  for (const auto& part : parts) {
    if (part.full.data != part.shard.data) copy_bytes(part.full.data, part.shard.data, part.shard.bytes());
  }
}

void LocalCommunicator::all_reduce(View values, ReduceOp, Stream, const char* label) {
  check_all_reduce(values, label);
}

void LocalCommunicator::broadcast(View values, int root, Stream, const char* label) {
  check_peer(values, root, 1, label);
}

void LocalCommunicator::barrier(const char*) {}

void LocalCommunicator::send(ConstView, int to, const char* label) {
  throw ShapeError(fmt::format("send \"{}\" to rank {}, but there is one rank", label, to));
}

void LocalCommunicator::recv(View, int from, const char* label) {
  throw ShapeError(fmt::format("recv \"{}\" from rank {}, but there is one rank", label, from));
}

void* LocalCommunicator::allocate_registered(std::int64_t bytes) {
  void* base = map_plain_memory(bytes);
  mappings_.push_back({base, bytes});
  return base;
}

void LocalCommunicator::abort(std::string_view reason, int exit_code) noexcept {
  std::fprintf(stderr, "error: %.*s\n", static_cast<int>(reason.size()), reason.data());
  std::fflush(nullptr);
  std::_Exit(exit_code);
}

}  // namespace dstrain
