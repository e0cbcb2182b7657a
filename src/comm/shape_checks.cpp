// SPDX-License-Identifier: Apache-2.0
#include "comm/shape_checks.hpp"

#include <limits>

#include "core/error.hpp"

namespace dstrain {
namespace {

[[noreturn]] void refuse(const char* op, const char* label, const std::string& problem) {
  throw ShapeError(fmt::format("{} \"{}\": {}", op, label == nullptr ? "" : label, problem));
}

void check_data(ConstView view, const char* op, const char* label) {
  if (view.count < 0) refuse(op, label, fmt::format("a count of {}", view.count));
  if (view.count > 0 && view.data == nullptr)
    refuse(op, label, fmt::format("{} elements at a null pointer", view.count));
}

void check_counts(std::int64_t full, std::int64_t shard, int size, const char* op, const char* label) {
  if (shard < 0 || shard > std::numeric_limits<std::int64_t>::max() / 8 / size || full != shard * size) {
    refuse(op, label, fmt::format("full has {} elements, shards have {}, and there are {} ranks", full, shard, size));
  }
}

}  // namespace

void check_reduce_scatter(std::span<const ReduceScatterPart> parts, int contributors, int rank, int size,
                          const char* label) {
  constexpr auto op = "reduce_scatter";
  if (contributors < 0 || contributors > size) {
    refuse(op, label, fmt::format("{} contributors among {} ranks", contributors, size));
  }
  for (const auto& part : parts) {
    check_counts(part.full.count, part.shard.count, size, op, label);
    check_data(part.shard, op, label);
    if (rank < contributors) check_data(part.full, op, label);
    if (part.full.dtype != DType::f32 && part.full.dtype != DType::bf16) {
      refuse(op, label, fmt::format("sums f32 and bf16, not {}", name_of(part.full.dtype)));
    }
    if (part.shard.dtype != DType::f32)
      refuse(op, label, fmt::format("the shard is {}, not f32", name_of(part.shard.dtype)));
  }
}

void check_all_gather(std::span<const AllGatherPart> parts, int size, const char* label) {
  constexpr auto op = "all_gather";
  for (const auto& part : parts) {
    check_counts(part.full.count, part.shard.count, size, op, label);
    check_data(part.shard, op, label);
    check_data(part.full, op, label);
    if (part.full.dtype != part.shard.dtype) {
      refuse(op, label, fmt::format("gathers {} into {}", name_of(part.shard.dtype), name_of(part.full.dtype)));
    }
  }
}

void check_all_reduce(ConstView values, const char* label) {
  check_data(values, "all_reduce", label);
  switch (values.dtype) {
    case DType::f64:
    case DType::f32:
    case DType::i64:
    case DType::i32:
      return;
    default:
      refuse("all_reduce", label, fmt::format("combines f64, f32, i64 and i32, not {}", name_of(values.dtype)));
  }
}

void check_peer(ConstView values, int peer, int size, const char* label) {
  check_data(values, "transfer", label);
  if (peer < 0 || peer >= size) refuse("transfer", label, fmt::format("rank {} of {}", peer, size));
}

}  // namespace dstrain
