// SPDX-License-Identifier: Apache-2.0
/// Attention backward on tensor cores, without atomics: one kernel whose warps keep 16 keys each and walk the queries
/// for dk and dv, one whose warps keep 16 queries and walk the keys for dq. Both make the scores again from the
/// log-sum-exp. Scores of the first are transposed, so that both pass from one product to the next in registers.
#include "kernels/cuda/attention_mma.cuh"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

/// Rows of the side that is walked: smaller tiles leave registers for the sums of wide heads.
template <int D>
inline constexpr int walked_rows = D > 64 ? 32 : 64;

/// A tile of the walked side: two operands, and for queries their log-sum-exp and delta.
template <typename S, int D>
struct WalkedTile {
  S* first;   ///< q, or k
  S* second;  ///< dout, or v
  float* lse;
  float* delta;

  static constexpr std::int64_t bytes =
      2 * walked_rows<D> * mma_stride<D> * 2 + 2 * walked_rows<D> * static_cast<int>(sizeof(float));
  DSTRAIN_DEVICE static WalkedTile at(char* memory, int stage) {
    WalkedTile t{};
    t.first = reinterpret_cast<S*>(memory + stage * bytes);
    t.second = t.first + walked_rows<D> * mma_stride<D>;
    t.lse = reinterpret_cast<float*>(t.second + walked_rows<D> * mma_stride<D>);
    t.delta = t.lse + walked_rows<D>;
    return t;
  }
};

template <typename S, int D>
inline constexpr std::int64_t backward_bytes = 2 * mma_rows* mma_stride<D> * 2 + 2 * WalkedTile<S, D>::bytes;

/// The products of a warp's 16 rows with all rows of a tile, for both pairs of operands.
template <typename S, int D>
DSTRAIN_DEVICE void tile_products(float (*score)[4], float (*dweight)[4], const S* own_first, const S* own_second,
                                  const WalkedTile<S, D>& tile) {
  constexpr int ld = mma_stride<D>;
  const int row = warp_id() * 16;
  for (int d = 0; d < D; d += 16) {
    const FragmentA first = load_a(own_first, ld, row, d);
    const FragmentA second = load_a(own_second, ld, row, d);
#pragma unroll
    for (int nb = 0; nb < walked_rows<D> / 8; nb += 2) {
      multiply_add<S>(score + nb, first, load_b_by_columns(tile.first, ld, nb * 8, d));
      multiply_add<S>(dweight + nb, second, load_b_by_columns(tile.second, ld, nb * 8, d));
    }
  }
}

/// sum[16, D] += x[16, rows] * operand[rows, D].
template <typename S, int D>
DSTRAIN_DEVICE void add_product(float (*sum)[4], const float (*x)[4], const S* operand) {
#pragma unroll
  for (int kb = 0; kb < walked_rows<D> / 8; kb += 2) {
    const FragmentA a = as_operand<S>(x[kb], x[kb + 1]);
#pragma unroll
    for (int nb = 0; nb < D / 8; nb += 2)
      multiply_add<S>(sum + nb, a, load_b_by_rows(operand, mma_stride<D>, kb * 8, nb * 8));
  }
}

template <typename S, int D>
__global__ void __launch_bounds__(attention_threads)
    mma_keys_kernel(S* dk, S* dv, const S* dout, const float* lse_NT, const float* delta_NT, const S* q, const S* k,
                    const S* v, AttentionSizes s) {
  constexpr int ld = mma_stride<D>;
  constexpr int rows = walked_rows<D>;
  const Place place = place_of(s, mma_rows);
  const Segment g = place.segment;
  const int k0 = place.begin;
  if (k0 >= g.n_k) return;
  const int k1 = k0 + mma_rows < g.n_k ? k0 + mma_rows : g.n_k;
  const std::int64_t kv_head = blockIdx.y;
  S* own_k = reinterpret_cast<S*>(dynamic_shared());
  S* own_v = own_k + mma_rows * ld;
  char* tiles = reinterpret_cast<char*>(own_v + mma_rows * ld);
  const std::int64_t kv_at = g.k_begin * s.kv_stride + kv_head * s.kv_head;
  queue_rows<S, D>(own_k, k + kv_at, s.kv_stride, k0, mma_rows, g.n_k, s.head_dim);
  queue_rows<S, D>(own_v, v + kv_at, s.kv_stride, k0, mma_rows, g.n_k, s.head_dim);
  // Queries that see a key of the tile: their last visible key is not before it, their first not behind it.
  const int offset = g.shift;
  const int from = (k0 - offset > 0 ? k0 - offset : 0) / rows * rows;
  const std::int64_t behind = s.window > 0 ? static_cast<std::int64_t>(k1) - offset + s.window - 1 : g.n_q;
  const int to = behind < g.n_q ? static_cast<int>(behind) : g.n_q;
  const int tiles_of_head = to > from ? (to - from + rows - 1) / rows : 0;
  const int count = tiles_of_head * static_cast<int>(s.group);
  const auto head_of = [&](int index) { return kv_head * s.group + index / tiles_of_head; };
  const auto queue_tile = [&](int index) {
    const WalkedTile<S, D> tile = WalkedTile<S, D>::at(tiles, index % 2);
    const std::int64_t head = head_of(index);
    const int a0 = from + index % tiles_of_head * rows;
    queue_rows<S, D>(tile.first, q + g.q_begin * s.q_stride + q_column(s, head), s.q_stride, a0, rows, g.n_q,
                     s.head_dim);
    queue_rows<S, D>(tile.second, dout + g.q_begin * s.out_stride + head * s.head_dim, s.out_stride, a0, rows, g.n_q,
                     s.head_dim);
    for (int r = static_cast<int>(threadIdx.x); r < rows; r += attention_threads) {
      const bool there = a0 + r < g.n_q;
      tile.lse[r] = there ? lse_NT[head * s.T + g.q_begin + a0 + r] : 0.0F;
      tile.delta[r] = there ? delta_NT[head * s.T + g.q_begin + a0 + r] : 0.0F;
    }
  };
  float sum_k[D / 8][4] = {};
  float sum_v[D / 8][4] = {};
  if (count > 0) queue_tile(0);
  for (int index = 0; index < count; ++index) {
    wait_for_copies();
    __syncthreads();
    if (index + 1 < count) queue_tile(index + 1);
    const WalkedTile<S, D> tile = WalkedTile<S, D>::at(tiles, index % 2);
    const std::int64_t head = head_of(index);
    const int a0 = from + index % tiles_of_head * rows;
    float weight[rows / 8][4] = {};
    float dscore[rows / 8][4] = {};
    tile_products<S, D>(weight, dscore, own_k, own_v, tile);
#pragma unroll
    for (int nb = 0; nb < rows / 8; ++nb) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int r = nb * 8 + sum_column(e);
        const ScoreGradient found = score_gradient(s, g, head, a0 + r, k0 + warp_id() * 16 + sum_row(e), weight[nb][e],
                                                   dscore[nb][e], tile.lse[r], tile.delta[r]);
        weight[nb][e] = found.weight;
        dscore[nb][e] = found.dscore;
      }
    }
    add_product<S, D>(sum_v, weight, tile.second);
    add_product<S, D>(sum_k, dscore, tile.first);
  }
  const int row = k0 + warp_id() * 16;
  store_sums<S, D>(dk + kv_at, s.kv_stride, sum_k, row, k1, s.head_dim, nullptr);
  store_sums<S, D>(dv + kv_at, s.kv_stride, sum_v, row, k1, s.head_dim, nullptr);
}

template <typename S, int D>
__global__ void __launch_bounds__(attention_threads)
    mma_queries_kernel(S* dq, const S* dout, const float* lse_NT, const float* delta_NT, const S* q, const S* k,
                       const S* v, AttentionSizes s) {
  constexpr int ld = mma_stride<D>;
  constexpr int keys = walked_rows<D>;
  const Place place = place_of(s, mma_rows);
  const Segment g = place.segment;
  const int a0 = place.begin;
  if (a0 >= g.n_q) return;
  const int a1 = a0 + mma_rows < g.n_q ? a0 + mma_rows : g.n_q;
  const std::int64_t head = blockIdx.y;
  S* own_q = reinterpret_cast<S*>(dynamic_shared());
  S* own_dout = own_q + mma_rows * ld;
  char* tiles = reinterpret_cast<char*>(own_dout + mma_rows * ld);
  const std::int64_t q_at = g.q_begin * s.q_stride + q_column(s, head);
  const std::int64_t kv_at = g.k_begin * s.kv_stride + head / s.group * s.kv_head;
  queue_rows<S, D>(own_q, q + q_at, s.q_stride, a0, mma_rows, g.n_q, s.head_dim);
  queue_rows<S, D>(own_dout, dout + g.q_begin * s.out_stride + head * s.head_dim, s.out_stride, a0, mma_rows, g.n_q,
                   s.head_dim);
  const auto queue_tile = [&](int stage, int k0) {
    const WalkedTile<S, D> tile = WalkedTile<S, D>::at(tiles, stage);
    queue_rows<S, D>(tile.first, k + kv_at, s.kv_stride, k0, keys, g.n_k, s.head_dim);
    queue_rows<S, D>(tile.second, v + kv_at, s.kv_stride, k0, keys, g.n_k, s.head_dim);
  };
  float lse[2];
  float delta[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int a = a0 + warp_id() * 16 + lane_group() + 8 * half;
    lse[half] = a < g.n_q ? lse_NT[head * s.T + g.q_begin + a] : 0.0F;
    delta[half] = a < g.n_q ? delta_NT[head * s.T + g.q_begin + a] : 0.0F;
  }
  float sum[D / 8][4] = {};
  const Range range = keys_of(s, g, a0, a1);
  if (range.begin < range.end) queue_tile(0, range.begin);
  int stage = 0;
  for (int k0 = range.begin; k0 < range.end; k0 += keys, stage ^= 1) {
    wait_for_copies();
    __syncthreads();
    if (k0 + keys < range.end) queue_tile(stage ^ 1, k0 + keys);
    const WalkedTile<S, D> tile = WalkedTile<S, D>::at(tiles, stage);
    float score[keys / 8][4] = {};
    float dscore[keys / 8][4] = {};
    tile_products<S, D>(score, dscore, own_q, own_dout, tile);
#pragma unroll
    for (int nb = 0; nb < keys / 8; ++nb) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        dscore[nb][e] = score_gradient(s, g, head, a0 + warp_id() * 16 + sum_row(e), k0 + nb * 8 + sum_column(e),
                                       score[nb][e], dscore[nb][e], lse[e / 2], delta[e / 2])
                            .dscore;
      }
    }
    add_product<S, D>(sum, dscore, tile.first);
  }
  store_sums<S, D>(dq + q_at, s.q_stride, sum, a0 + warp_id() * 16, a1, s.head_dim, nullptr);
}

}  // namespace

template <typename S>
void mma_backward(const Exec& exec, const AttentionGradients<S>& gradients, const AttentionOutputs<S>& outputs,
                  const AttentionInputs<S>& in, AttentionSizes s, const Segments& segments, std::int64_t heads) {
  by_width(s.head_dim, [&](auto width) {
    constexpr int D = decltype(width)::value;
    constexpr std::int64_t bytes = backward_bytes<S, D>;
    s.rows_q = mma_rows;
    s.rows_k = walked_rows<D>;
    s.tiles = static_cast<std::int32_t>(div_up(segments.most_keys, mma_rows));
    launch(mma_keys_kernel<S, D>, exec, {segments.count * s.tiles, s.kv_heads}, attention_threads, bytes, gradients.dk,
           gradients.dv, outputs.dout, outputs.lse_NT, outputs.delta_NT, in.q, in.k, in.v, s);
    s.tiles = static_cast<std::int32_t>(div_up(segments.most_queries, mma_rows));
    launch(mma_queries_kernel<S, D>, exec, {segments.count * s.tiles, heads}, attention_threads, bytes, gradients.dq,
           outputs.dout, outputs.lse_NT, outputs.delta_NT, in.q, in.k, in.v, s);
  });
}

template void mma_backward<Bf16>(const Exec&, const AttentionGradients<Bf16>&, const AttentionOutputs<Bf16>&,
                                 const AttentionInputs<Bf16>&, AttentionSizes, const Segments&, std::int64_t);
template void mma_backward<F16>(const Exec&, const AttentionGradients<F16>&, const AttentionOutputs<F16>&,
                                const AttentionInputs<F16>&, AttentionSizes, const Segments&, std::int64_t);

}  // namespace dstrain::DSTRAIN_KERNELS
