// SPDX-License-Identifier: Apache-2.0
/// Weight gradients of norms: rows are summed by fixed blocks, one thread each, and the blocks then in order, so that
/// no bit depends on the number of threads.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/parallel.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/simd/functions.hpp"

namespace dstrain::cpu {

/// Rows whose sum one thread makes. A function of T alone.
constexpr std::int64_t rows_per_block(std::int64_t T) noexcept {
  const std::int64_t rows = (T + 63) / 64;
  return rows < 16 ? 16 : rows;
}

constexpr std::int64_t blocks_of(std::int64_t T) noexcept { return (T + rows_per_block(T) - 1) / rows_per_block(T); }

/// Calls body(t, sums of the block) for each row, `width` zeroed f32 sums per block at `partial` (null: body gets
/// null).
template <typename Body>
void for_row_blocks(std::int64_t T, float* partial, std::int64_t width, const Body& body) {
  const std::int64_t rows = rows_per_block(T);
  parallel_for(blocks_of(T), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      float* sums = partial == nullptr ? nullptr : partial + b * width;
      if (sums != nullptr) std::memset(sums, 0, static_cast<std::size_t>(width) * sizeof(float));
      const std::int64_t stop = (b + 1) * rows < T ? (b + 1) * rows : T;
      for (std::int64_t t = b * rows; t < stop; ++t) body(t, sums);
    }
  });
}

/// total[d] (+)= sum over the blocks of partial[b * width + d], d < count.
void sum_row_blocks(float* total, const float* partial, std::int64_t T, std::int64_t count, std::int64_t width,
                    bool add);

}  // namespace dstrain::cpu
