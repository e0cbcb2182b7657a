// SPDX-License-Identifier: Apache-2.0
/// What the kernels of attention_mma_*.cu share: a block of four warps, 16 rows of a tile for each warp, the tiles of
/// the other side double-buffered in shared memory. Loops over the elements of sums are unrolled: what is indexed by
/// constants stays in registers.
#pragma once

#include <type_traits>

#include "kernels/cuda/attention_mma.hpp"
#include "kernels/cuda/mma.cuh"

namespace dstrain::DSTRAIN_KERNELS {

inline constexpr int mma_rows = attention_threads / 32 * 16;  ///< rows of a block

/// Elements from one row of a tile of D columns to the next: eight rows lie in different banks.
template <int D>
inline constexpr int mma_stride = D + 8;

DSTRAIN_DEVICE float fast_exp(float x) { return exp2f(x * 1.4426950408889634F); }

/// Queues rows [begin, begin + rows) of a segment, `n` long, to shared memory; zeros behind its end and its head_dim.
template <typename S, int D>
DSTRAIN_DEVICE void queue_rows(S* tile, const S* from, std::int64_t stride, int begin, int rows, int n, int head_dim) {
  constexpr int chunks = D / 8;
  for (int i = static_cast<int>(threadIdx.x); i < rows * chunks; i += attention_threads) {
    const int r = i / chunks;
    const int d = i % chunks * 8;
    S* to = tile + r * mma_stride<D> + d;
    const bool there = begin + r < n && d < head_dim;
    const S* at = there ? from + static_cast<std::int64_t>(begin + r) * stride + d : from;
    const int valid = !there ? 0 : head_dim - d < 8 ? head_dim - d : 8;
    if (reinterpret_cast<std::uintptr_t>(at) % 16 == 0) {
      copy_16_bytes(to, at, valid * 2);
      continue;
    }
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      if (e < valid) {
        to[e] = at[e];
      } else {
        narrow(to[e], 0.0F);
      }
    }
  }
}

/// Row of element e of a sum, within the 16 rows of its warp, and column within its eight.
DSTRAIN_DEVICE int sum_row(int e) { return lane_group() + (e >= 2 ? 8 : 0); }
DSTRAIN_DEVICE int sum_column(int e) { return 2 * lane_pair() + e % 2; }

/// `value` of the four lanes that hold a row of a sum, combined.
template <typename Combine>
DSTRAIN_DEVICE float row_combine(float value, Combine combine) {
  value = combine(value, __shfl_xor_sync(0xffffffffU, value, 1));
  return combine(value, __shfl_xor_sync(0xffffffffU, value, 2));
}

/// Weight behind dropout, and the gradient of the product q.k, of query a and key j.
struct ScoreGradient {
  float weight;
  float dscore;
};
DSTRAIN_DEVICE ScoreGradient score_gradient(const AttentionSizes& s, const Segment& g, std::int64_t head, int a, int j,
                                            float product, float dweight, float lse, float delta) {
  const Visible visible = visible_of(s, g, a);
  if (a >= g.n_q || j < visible.first || j > visible.last) return {0.0F, 0.0F};
  const Score score = score_of(s, product, head, j, visible.own);
  const float p = fast_exp(score.value - lse);
  const float factor = dropout_factor(s, head, g.q_begin + a, j);
  return {factor * p, s.scale * score.slope * p * (factor * dweight - delta)};
}

/// Stores the 16 rows of a warp's sums from row `row` of a gradient or output on, of `n` rows.
template <typename S, int D>
DSTRAIN_DEVICE void store_sums(S* to, std::int64_t stride, const float (*sum)[4], int row, int n, int head_dim,
                               const float* factor) {
#pragma unroll
  for (int nb = 0; nb < D / 8; ++nb) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int r = row + sum_row(e);
      const int d = nb * 8 + sum_column(e);
      if (r < n && d < head_dim) narrow(to[r * stride + d], sum[nb][e] * (factor == nullptr ? 1.0F : factor[e / 2]));
    }
  }
}

/// Calls f with the smallest of the widths that kernels are made for which holds head_dim, as a constant.
template <typename F>
void by_width(std::int64_t head_dim, const F& f) {
  if (head_dim <= 32) return f(std::integral_constant<int, 32>{});
  if (head_dim <= 64) return f(std::integral_constant<int, 64>{});
  if (head_dim <= 96) return f(std::integral_constant<int, 96>{});
  f(std::integral_constant<int, 128>{});
}

}  // namespace dstrain::DSTRAIN_KERNELS
