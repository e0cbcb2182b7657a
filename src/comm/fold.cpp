// SPDX-License-Identifier: Apache-2.0
#include "comm/fold.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "core/error.hpp"
#include "core/parallel.hpp"

namespace dstrain {
namespace {

constexpr std::int64_t block = 1024;        ///< elements of the running sum, kept in the first-level cache
constexpr std::int64_t grain = 32 * block;  ///< elements a thread takes at least: below, waking it costs more

template <typename T>
void start_block(float* sum, const T* source, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) sum[i] = static_cast<float>(source[i]);
}

template <typename T>
void add_block(float* sum, const T* source, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) sum[i] += static_cast<float>(source[i]);
}

/// Sums a block in a local array before `out` is written: every source is read once, and `out` may be a source.
template <typename T>
void fold_range(float* out, std::span<const void* const> sources, std::int64_t begin, std::int64_t end,
                bool accumulate) {
  alignas(64) float sum[block];
  for (std::int64_t at = begin; at < end; at += block) {
    const std::int64_t n = std::min(block, end - at);
    std::size_t next = 0;
    if (accumulate) {
      std::memcpy(sum, out + at, static_cast<std::size_t>(n) * sizeof(float));
    } else {
      start_block(sum, static_cast<const T*>(sources[next++]) + at, n);
    }
    for (; next < sources.size(); ++next) add_block(sum, static_cast<const T*>(sources[next]) + at, n);
    std::memcpy(out + at, sum, static_cast<std::size_t>(n) * sizeof(float));
  }
}

template <typename T>
T combine(T a, T b, ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
      if constexpr (std::is_integral_v<T>) {  // wraps like every two's complement machine, without undefined behaviour
        return static_cast<T>(static_cast<std::make_unsigned_t<T>>(a) + static_cast<std::make_unsigned_t<T>>(b));
      } else {
        return a + b;
      }
    case ReduceOp::max:
      break;
    case ReduceOp::min: {
      if constexpr (std::is_floating_point_v<T>) {
        if (std::isnan(a) || std::isnan(b)) return a + b;
      }
      return b < a ? b : a;
    }
  }
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) || std::isnan(b)) return a + b;
  }
  return a < b ? b : a;
}

template <typename T>
void fold_as(void* out, std::span<const void* const> sources, std::int64_t count, ReduceOp op) {
  auto* result = static_cast<T*>(out);
  std::memcpy(result, sources[0], static_cast<std::size_t>(count) * sizeof(T));
  for (std::size_t s = 1; s < sources.size(); ++s) {
    const auto* source = static_cast<const T*>(sources[s]);
    for (std::int64_t i = 0; i < count; ++i) result[i] = combine(result[i], source[i], op);
  }
}

}  // namespace

void fold_sum(float* out, std::span<const void* const> sources, DType dtype, std::int64_t count, bool accumulate) {
  if (sources.empty()) {
    if (!accumulate) std::fill_n(out, count, 0.0F);
    return;
  }
  parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
    if (dtype == DType::bf16) {
      fold_range<bfloat16>(out, sources, begin, end, accumulate);
    } else {
      fold_range<float>(out, sources, begin, end, accumulate);
    }
  });
}

void fold(void* out, std::span<const void* const> sources, DType dtype, std::int64_t count, ReduceOp op) {
  if (count == 0) return;
  switch (dtype) {
    case DType::f64:
      return fold_as<double>(out, sources, count, op);
    case DType::f32:
      return fold_as<float>(out, sources, count, op);
    case DType::i64:
      return fold_as<std::int64_t>(out, sources, count, op);
    case DType::i32:
      return fold_as<std::int32_t>(out, sources, count, op);
    default:
      throw ShapeError(fmt::format("all_reduce cannot combine {}", name_of(dtype)));
  }
}

void copy_bytes(void* to, const void* from, std::int64_t bytes) {
  constexpr std::int64_t grain_bytes = 256 * 1024;
  parallel_for(bytes, grain_bytes, [&](std::int64_t begin, std::int64_t end) {
    std::memcpy(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin,
                static_cast<std::size_t>(end - begin));
  });
}

}  // namespace dstrain
