// SPDX-License-Identifier: Apache-2.0
/// Attention forward for any storage type and head size: tiles in shared memory, products by tiles.cuh. What
/// attention_mma_*.cu does not take.
#pragma once

#include "kernels/cuda/attention_parts.cuh"

namespace dstrain::DSTRAIN_KERNELS {

/// One row of scores becomes weights: the running maximum and sum go on, what was summed so far is rescaled.
template <typename S>
DSTRAIN_DEVICE void softmax_row(const AttentionSizes& s, const Segment& g, std::int64_t head, int a, int k0,
                                const float* score_row, S* weight_row, float* out_row, float* greatest, float* total) {
  const Visible visible = visible_of(s, g, a);
  const auto score_at = [&](int c) {
    const int j = k0 + c;
    return j >= visible.first && j <= visible.last ? score_of(s, score_row[c], head, j, visible.own).value
                                                   : minus_infinity;
  };
  float top = minus_infinity;
  for (int c = lane_id(); c < s.rows_k; c += 32) {
    const float value = score_at(c);
    top = value > top ? value : top;
  }
  const float before = *greatest;
  top = warp_combine(top, Greatest{});
  top = before > top ? before : top;
  float sum = 0.0F;
  for (int c = lane_id(); c < s.rows_k; c += 32) {
    const float value = score_at(c);
    const float p = value == minus_infinity ? 0.0F : expf(value - top);
    sum += p;
    narrow(weight_row[c], p == 0.0F ? 0.0F : p * dropout_factor(s, head, g.q_begin + a, k0 + c));
  }
  sum = warp_combine(sum, Sum{});
  const float rescale = before == minus_infinity ? 0.0F : expf(before - top);
  for (int d = lane_id(); d < padded_dim(s.head_dim); d += 32) out_row[d] *= rescale;
  __syncwarp();  // every lane has read the old maximum
  if (lane_id() == 0) {
    *greatest = top;
    *total = *total * rescale + sum;
  }
}

template <typename S>
struct ForwardShared {
  S* q;
  S* k;
  S* v;
  S* weights;
  float* scores;
  float* out;
  float* greatest;
  float* total;

  DSTRAIN_DEVICE static ForwardShared of(const AttentionSizes& s) {
    const int ld = tile_stride<S>(s.head_dim);
    SharedPieces pieces{dynamic_shared()};
    ForwardShared m{};
    m.q = pieces.take<S>(s.rows_q * ld);
    m.k = pieces.take<S>(s.rows_k * ld);
    m.v = pieces.take<S>(s.rows_k * ld);
    m.weights = pieces.take<S>(s.rows_q * tile_stride<S>(s.rows_k));
    m.scores = pieces.take<float>(s.rows_q * tile_stride<float>(s.rows_k));
    m.out = pieces.take<float>(s.rows_q * tile_stride<float>(s.head_dim));
    m.greatest = pieces.take<float>(s.rows_q);
    m.total = pieces.take<float>(s.rows_q);
    return m;
  }
};

template <typename S>
__global__ void __launch_bounds__(attention_threads)
    forward_kernel(S* out, float* lse_NT, const S* q, const S* k, const S* v, AttentionSizes s) {
  const Place place = place_of(s, s.rows_q);
  const Segment g = place.segment;
  const int a0 = place.begin;
  if (a0 >= g.n_q) return;
  const int a1 = a0 + s.rows_q < g.n_q ? a0 + s.rows_q : g.n_q;
  const std::int64_t head = blockIdx.y;
  const ForwardShared<S> m = ForwardShared<S>::of(s);
  const int ld = tile_stride<S>(s.head_dim);
  const int ld_scores = tile_stride<float>(s.rows_k);
  const int ld_weights = tile_stride<S>(s.rows_k);
  const int ld_out = tile_stride<float>(s.head_dim);
  const int width = padded_dim(s.head_dim);
  const int warps = attention_threads / 32;

  load_tile(m.q, q + g.q_begin * s.q_stride + q_column(s, head), s.q_stride, a0, s.rows_q, g.n_q, s.head_dim);
  for (int i = static_cast<int>(threadIdx.x); i < s.rows_q * ld_out; i += attention_threads) m.out[i] = 0.0F;
  for (int r = static_cast<int>(threadIdx.x); r < s.rows_q; r += attention_threads) {
    m.greatest[r] = minus_infinity;
    m.total[r] = 0.0F;
  }
  const S* keys = k + g.k_begin * s.kv_stride + head / s.group * s.kv_head;
  const S* values = v + g.k_begin * s.kv_stride + head / s.group * s.kv_head;
  const Range range = keys_of(s, g, a0, a1);
  for (int k0 = range.begin; k0 < range.end; k0 += s.rows_k) {
    __syncthreads();
    load_tile(m.k, keys, s.kv_stride, k0, s.rows_k, g.n_k, s.head_dim);
    load_tile(m.v, values, s.kv_stride, k0, s.rows_k, g.n_k, s.head_dim);
    __syncthreads();
    tile_product<false, true>(m.scores, ld_scores, m.q, ld, m.k, ld, s.rows_q, s.rows_k, width, false);
    __syncthreads();
    for (int r = warp_id(); r < s.rows_q; r += warps) {
      softmax_row(s, g, head, a0 + r, k0, m.scores + r * ld_scores, m.weights + r * ld_weights, m.out + r * ld_out,
                  m.greatest + r, m.total + r);
    }
    __syncthreads();
    tile_product<false, false>(m.out, ld_out, m.weights, ld_weights, m.v, ld, s.rows_q, width, s.rows_k, true);
  }
  __syncthreads();
  for (int r = warp_id(); r < a1 - a0; r += warps) {
    const std::int64_t t = g.q_begin + a0 + r;
    const float total = m.total[r];
    const float inverse = total > 0.0F ? 1.0F / total : 0.0F;
    for (int d = lane_id(); d < s.head_dim; d += 32)
      narrow(out[t * s.out_stride + head * s.head_dim + d], m.out[r * ld_out + d] * inverse);
    if (lane_id() == 0 && lse_NT != nullptr)
      lse_NT[head * s.T + t] = total > 0.0F ? m.greatest[r] + logf(total) : minus_infinity;
  }
}

}  // namespace dstrain::DSTRAIN_KERNELS
