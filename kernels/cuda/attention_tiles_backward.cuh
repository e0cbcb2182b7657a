// SPDX-License-Identifier: Apache-2.0
/// Attention backward for any storage type and head size: tiles in shared memory, products by tiles.cuh. What
/// attention_mma_*.cu does not take.
#pragma once

#include "kernels/cuda/attention_parts.cuh"

namespace dstrain::DSTRAIN_KERNELS {

/// What both backward kernels hold: a tile of queries, a tile of keys, their scores and the gradients of these.
template <typename S>
struct BackwardShared {
  S* q;
  S* dout;
  S* k;
  S* v;
  S* weights;  ///< behind dropout
  S* dscores;
  float* scores;
  float* dweights;
  float* sum1;  ///< dk, or dq
  float* sum2;  ///< dv

  DSTRAIN_DEVICE static BackwardShared of(const AttentionSizes& s, bool by_keys) {
    const int ld = tile_stride<S>(s.head_dim);
    const int ld_sum = tile_stride<float>(s.head_dim);
    SharedPieces pieces{dynamic_shared()};
    BackwardShared m{};
    m.q = pieces.take<S>(s.rows_q * ld);
    m.dout = pieces.take<S>(s.rows_q * ld);
    m.k = pieces.take<S>(s.rows_k * ld);
    m.v = pieces.take<S>(s.rows_k * ld);
    m.weights = pieces.take<S>(s.rows_q * tile_stride<S>(s.rows_k));
    m.dscores = pieces.take<S>(s.rows_q * tile_stride<S>(s.rows_k));
    m.scores = pieces.take<float>(s.rows_q * tile_stride<float>(s.rows_k));
    m.dweights = pieces.take<float>(s.rows_q * tile_stride<float>(s.rows_k));
    m.sum1 = pieces.take<float>((by_keys ? s.rows_k : s.rows_q) * ld_sum);
    m.sum2 = by_keys ? pieces.take<float>(s.rows_k * ld_sum) : nullptr;
    return m;
  }
};

/// From the products q.k and dout.v of a tile to the weights behind dropout and the gradient of the products.
template <typename S>
DSTRAIN_DEVICE void gradients_of_scores(const AttentionSizes& s, const Segment& g, std::int64_t head, int a0, int k0,
                                        const BackwardShared<S>& m, const float* lse_NT, const float* delta_NT) {
  const int ld_scores = tile_stride<float>(s.rows_k);
  const int ld_weights = tile_stride<S>(s.rows_k);
  for (int i = static_cast<int>(threadIdx.x); i < s.rows_q * s.rows_k; i += attention_threads) {
    const int r = i / s.rows_k;
    const int c = i % s.rows_k;
    const int a = a0 + r;
    const int j = k0 + c;
    float weight = 0.0F;
    float dscore = 0.0F;
    const Visible visible = visible_of(s, g, a);
    if (a < g.n_q && j >= visible.first && j <= visible.last) {
      const std::int64_t t = g.q_begin + a;
      const Score score = score_of(s, m.scores[r * ld_scores + c], head, j, visible.own);
      const float p = expf(score.value - lse_NT[head * s.T + t]);
      const float factor = dropout_factor(s, head, t, j);
      weight = factor * p;
      dscore = s.scale * score.slope * p * (factor * m.dweights[r * ld_scores + c] - delta_NT[head * s.T + t]);
    }
    narrow(m.weights[r * ld_weights + c], weight);
    narrow(m.dscores[r * ld_weights + c], dscore);
  }
}

/// Scores and their gradients of the loaded tiles.
template <typename S>
DSTRAIN_DEVICE void tile_gradients(const AttentionSizes& s, const Segment& g, std::int64_t head, int a0, int k0,
                                   const BackwardShared<S>& m, const float* lse_NT, const float* delta_NT) {
  const int ld = tile_stride<S>(s.head_dim);
  const int ld_scores = tile_stride<float>(s.rows_k);
  const int width = padded_dim(s.head_dim);
  tile_product<false, true>(m.scores, ld_scores, m.q, ld, m.k, ld, s.rows_q, s.rows_k, width, false);
  tile_product<false, true>(m.dweights, ld_scores, m.dout, ld, m.v, ld, s.rows_q, s.rows_k, width, false);
  __syncthreads();
  gradients_of_scores(s, g, head, a0, k0, m, lse_NT, delta_NT);
  __syncthreads();
}

/// Writes rows of a sum to a gradient.
template <typename S>
DSTRAIN_DEVICE void store_rows(S* to, std::int64_t stride, const float* sum, int rows, int head_dim) {
  const int ld = tile_stride<float>(head_dim);
  for (int i = static_cast<int>(threadIdx.x); i < rows * head_dim; i += attention_threads)
    narrow(to[static_cast<std::int64_t>(i / head_dim) * stride + i % head_dim], sum[i / head_dim * ld + i % head_dim]);
}

template <typename S>
__global__ void __launch_bounds__(attention_threads)
    keys_backward_kernel(S* dk, S* dv, const S* dout, const float* lse_NT, const float* delta_NT, const S* q,
                         const S* k, const S* v, AttentionSizes s) {
  const Place place = place_of(s, s.rows_k);
  const Segment g = place.segment;
  const int k0 = place.begin;
  if (k0 >= g.n_k) return;
  const int k1 = k0 + s.rows_k < g.n_k ? k0 + s.rows_k : g.n_k;
  const std::int64_t kv_head = blockIdx.y;
  const BackwardShared<S> m = BackwardShared<S>::of(s, true);
  const int ld = tile_stride<S>(s.head_dim);
  const int ld_weights = tile_stride<S>(s.rows_k);
  const int ld_sum = tile_stride<float>(s.head_dim);
  const int width = padded_dim(s.head_dim);
  const std::int64_t kv_at = g.k_begin * s.kv_stride + kv_head * s.kv_head;
  load_tile(m.k, k + kv_at, s.kv_stride, k0, s.rows_k, g.n_k, s.head_dim);
  load_tile(m.v, v + kv_at, s.kv_stride, k0, s.rows_k, g.n_k, s.head_dim);
  for (int i = static_cast<int>(threadIdx.x); i < s.rows_k * ld_sum; i += attention_threads)
    m.sum1[i] = m.sum2[i] = 0.0F;
  // Queries that see a key of the tile: their last visible key is not before it, their first not behind it.
  const int offset = g.shift;
  const int from = k0 - offset > 0 ? k0 - offset : 0;
  const std::int64_t behind = s.window > 0 ? static_cast<std::int64_t>(k1) - offset + s.window - 1 : g.n_q;
  const int to = behind < g.n_q ? static_cast<int>(behind) : g.n_q;
  for (std::int64_t head = kv_head * s.group; head < (kv_head + 1) * s.group; ++head) {
    for (int a0 = from / s.rows_q * s.rows_q; a0 < to; a0 += s.rows_q) {
      __syncthreads();
      load_tile(m.q, q + g.q_begin * s.q_stride + q_column(s, head), s.q_stride, a0, s.rows_q, g.n_q, s.head_dim);
      load_tile(m.dout, dout + g.q_begin * s.out_stride + head * s.head_dim, s.out_stride, a0, s.rows_q, g.n_q,
                s.head_dim);
      __syncthreads();
      tile_gradients(s, g, head, a0, k0, m, lse_NT, delta_NT);
      tile_product<true, false>(m.sum1, ld_sum, m.dscores, ld_weights, m.q, ld, s.rows_k, width, s.rows_q, true);
      tile_product<true, false>(m.sum2, ld_sum, m.weights, ld_weights, m.dout, ld, s.rows_k, width, s.rows_q, true);
    }
  }
  __syncthreads();
  store_rows(dk + kv_at + k0 * s.kv_stride, s.kv_stride, m.sum1, k1 - k0, s.head_dim);
  store_rows(dv + kv_at + k0 * s.kv_stride, s.kv_stride, m.sum2, k1 - k0, s.head_dim);
}

template <typename S>
__global__ void __launch_bounds__(attention_threads)
    queries_backward_kernel(S* dq, const S* dout, const float* lse_NT, const float* delta_NT, const S* q, const S* k,
                            const S* v, AttentionSizes s) {
  const Place place = place_of(s, s.rows_q);
  const Segment g = place.segment;
  const int a0 = place.begin;
  if (a0 >= g.n_q) return;
  const int a1 = a0 + s.rows_q < g.n_q ? a0 + s.rows_q : g.n_q;
  const std::int64_t head = blockIdx.y;
  const BackwardShared<S> m = BackwardShared<S>::of(s, false);
  const int ld = tile_stride<S>(s.head_dim);
  const int ld_weights = tile_stride<S>(s.rows_k);
  const int ld_sum = tile_stride<float>(s.head_dim);
  const int width = padded_dim(s.head_dim);
  const std::int64_t q_at = g.q_begin * s.q_stride + q_column(s, head);
  const std::int64_t kv_at = g.k_begin * s.kv_stride + head / s.group * s.kv_head;
  load_tile(m.q, q + q_at, s.q_stride, a0, s.rows_q, g.n_q, s.head_dim);
  load_tile(m.dout, dout + g.q_begin * s.out_stride + head * s.head_dim, s.out_stride, a0, s.rows_q, g.n_q, s.head_dim);
  for (int i = static_cast<int>(threadIdx.x); i < s.rows_q * ld_sum; i += attention_threads) m.sum1[i] = 0.0F;
  const Range range = keys_of(s, g, a0, a1);
  for (int k0 = range.begin; k0 < range.end; k0 += s.rows_k) {
    __syncthreads();
    load_tile(m.k, k + kv_at, s.kv_stride, k0, s.rows_k, g.n_k, s.head_dim);
    load_tile(m.v, v + kv_at, s.kv_stride, k0, s.rows_k, g.n_k, s.head_dim);
    __syncthreads();
    tile_gradients(s, g, head, a0, k0, m, lse_NT, delta_NT);
    tile_product<false, false>(m.sum1, ld_sum, m.dscores, ld_weights, m.k, ld, s.rows_q, width, s.rows_k, true);
  }
  __syncthreads();
  store_rows(dq + q_at + a0 * s.q_stride, s.q_stride, m.sum1, a1 - a0, s.head_dim);
}

}  // namespace dstrain::DSTRAIN_KERNELS
