// SPDX-License-Identifier: Apache-2.0
/// Attention forward on tensor cores. Dao, "FlashAttention-2", arXiv:2307.08691: a warp keeps 16 queries, their scores
/// with a tile of keys and their outputs in registers; keys and values of the next tile come while this one is used.
#include "kernels/cuda/attention_mma.cuh"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

constexpr int tile_keys = 64;
constexpr int key_blocks = tile_keys / 8;

/// What a lane keeps of its two rows, group and group + 8.
struct Running {
  float top[2] = {minus_infinity, minus_infinity};
  float total[2] = {0.0F, 0.0F};  ///< of this lane's columns alone, until the end
};

/// Products become weights behind dropout; the running maximum and sum go on, `sum` is rescaled to them.
template <int D>
DSTRAIN_DEVICE void softmax(const AttentionSizes& s, const Segment& g, std::int64_t head, int row, int k0,
                            float (*score)[4], float (*sum)[4], Running& running) {
  // Of most tiles all is visible, and nothing is done to a score but its scaling.
  const int first_query = row;
  const int last_query = row + 15 < g.n_q ? row + 15 : g.n_q - 1;
  const bool plain = s.softcap == 0.0F && s.slopes == nullptr && last_query >= first_query &&
                     visible_of(s, g, last_query).first <= k0 &&
                     visible_of(s, g, first_query).last >= k0 + tile_keys - 1;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int a = row + lane_group() + 8 * half;
    const Visible visible = visible_of(s, g, a);
    float top = minus_infinity;
#pragma unroll
    for (int nb = 0; nb < key_blocks; ++nb) {
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; ++e) {
        const int j = k0 + nb * 8 + sum_column(e);
        if (plain) {
          score[nb][e] *= s.scale;
        } else {
          const bool seen = a < g.n_q && j >= visible.first && j <= visible.last;
          score[nb][e] = seen ? score_of(s, score[nb][e], head, j, visible.own).value : minus_infinity;
        }
        top = score[nb][e] > top ? score[nb][e] : top;
      }
    }
    top = row_combine(top, Greatest{});
    top = running.top[half] > top ? running.top[half] : top;
    const bool nothing = top == minus_infinity;
    const float rescale = nothing ? 1.0F : fast_exp(running.top[half] - top);
    float total = 0.0F;
#pragma unroll
    for (int nb = 0; nb < key_blocks; ++nb) {
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; ++e) {
        const float p = nothing ? 0.0F : fast_exp(score[nb][e] - top);
        total += p;
        score[nb][e] =
            s.drops && p != 0.0F ? p * dropout_factor(s, head, g.q_begin + a, k0 + nb * 8 + sum_column(e)) : p;
      }
    }
    running.total[half] = running.total[half] * rescale + total;
    running.top[half] = top;
#pragma unroll
    for (int nb = 0; nb < D / 8; ++nb) {
      sum[nb][2 * half] *= rescale;
      sum[nb][2 * half + 1] *= rescale;
    }
  }
}

template <typename S, int D>
__global__ void __launch_bounds__(attention_threads)
    mma_forward_kernel(S* out, float* lse_NT, const S* q, const S* k, const S* v, AttentionSizes s) {
  constexpr int ld = mma_stride<D>;
  const Place place = place_of(s, mma_rows);
  const Segment g = place.segment;
  const int a0 = place.begin;
  if (a0 >= g.n_q) return;
  const int a1 = a0 + mma_rows < g.n_q ? a0 + mma_rows : g.n_q;
  const std::int64_t head = blockIdx.y;
  S* queries = reinterpret_cast<S*>(dynamic_shared());
  S* tiles = queries + mma_rows * ld;  // keys and values, twice
  const auto keys_at = [&](int stage) { return tiles + stage * 2 * tile_keys * ld; };
  const S* keys = k + g.k_begin * s.kv_stride + head / s.group * s.kv_head;
  const S* values = v + g.k_begin * s.kv_stride + head / s.group * s.kv_head;
  const auto queue_tile = [&](int stage, int k0) {
    queue_rows<S, D>(keys_at(stage), keys, s.kv_stride, k0, tile_keys, g.n_k, s.head_dim);
    queue_rows<S, D>(keys_at(stage) + tile_keys * ld, values, s.kv_stride, k0, tile_keys, g.n_k, s.head_dim);
  };

  queue_rows<S, D>(queries, q + g.q_begin * s.q_stride + q_column(s, head), s.q_stride, a0, mma_rows, g.n_q,
                   s.head_dim);
  const Range range = keys_of(s, g, a0, a1);
  if (range.begin < range.end) queue_tile(0, range.begin);
  const int row = warp_id() * 16;
  float sum[D / 8][4] = {};
  Running running;
  int stage = 0;
  for (int k0 = range.begin; k0 < range.end; k0 += tile_keys, stage ^= 1) {
    wait_for_copies();
    __syncthreads();  // the tile is there for all, and all are done with the other
    if (k0 + tile_keys < range.end) queue_tile(stage ^ 1, k0 + tile_keys);
    const S* tile = keys_at(stage);
    float score[key_blocks][4] = {};
    for (int d = 0; d < D; d += 16) {
      const FragmentA a = load_a(queries, ld, row, d);
#pragma unroll
      for (int nb = 0; nb < key_blocks; nb += 2) multiply_add<S>(score + nb, a, load_b_by_columns(tile, ld, nb * 8, d));
    }
    softmax<D>(s, g, head, a0 + row, k0, score, sum, running);
#pragma unroll
    for (int kb = 0; kb < key_blocks; kb += 2) {
      const FragmentA weights = as_operand<S>(score[kb], score[kb + 1]);
#pragma unroll
      for (int nb = 0; nb < D / 8; nb += 2)
        multiply_add<S>(sum + nb, weights, load_b_by_rows(tile + tile_keys * ld, ld, kb * 8, nb * 8));
    }
  }
  float inverse[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float total = row_combine(running.total[half], Sum{});
    inverse[half] = total > 0.0F ? 1.0F / total : 0.0F;
    const int a = a0 + row + lane_group() + 8 * half;
    if (lane_pair() == 0 && a < a1 && lse_NT != nullptr)
      lse_NT[head * s.T + g.q_begin + a] = total > 0.0F ? running.top[half] + logf(total) : minus_infinity;
  }
  store_sums<S, D>(out + g.q_begin * s.out_stride + head * s.head_dim, s.out_stride, sum, a0 + row, a1, s.head_dim,
                   inverse);
}

}  // namespace

template <typename S>
void mma_forward(const Exec& exec, S* out, float* lse_NT, const AttentionInputs<S>& in, AttentionSizes s,
                 const Segments& segments, std::int64_t heads) {
  s.rows_q = mma_rows;
  s.rows_k = tile_keys;
  s.tiles = static_cast<std::int32_t>(div_up(segments.most_queries, mma_rows));
  by_width(s.head_dim, [&](auto width) {
    constexpr int D = decltype(width)::value;
    constexpr std::int64_t bytes = (mma_rows + 4 * tile_keys) * mma_stride<D> * 2;
    launch(mma_forward_kernel<S, D>, exec, {segments.count * s.tiles, heads}, attention_threads, bytes, out, lse_NT,
           in.q, in.k, in.v, s);
  });
}

template void mma_forward<Bf16>(const Exec&, Bf16*, float*, const AttentionInputs<Bf16>&, AttentionSizes,
                                const Segments&, std::int64_t);
template void mma_forward<F16>(const Exec&, F16*, float*, const AttentionInputs<F16>&, AttentionSizes, const Segments&,
                               std::int64_t);

}  // namespace dstrain::DSTRAIN_KERNELS
