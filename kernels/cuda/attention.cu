// SPDX-License-Identifier: Apache-2.0
/// Attention on tiles with recomputation. Dao et al., "FlashAttention", arXiv:2205.14135 and 2307.08691.
///
/// Forward: a block per tile of queries and head walks the keys with a running maximum. Backward: a block per tile of
/// keys and key/value head walks the queries of its group for dk and dv, a block per tile of queries walks the keys for
/// dq. Each number has one writer and a fixed order: the same bits in every run, without atomics.
#include <algorithm>
#include <vector>

#include "kernels/cuda/attention_parts.cuh"
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/copy.hpp"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

constexpr int threads = 128;
constexpr float minus_infinity = -INFINITY;

/// The block's place: its segment, the first row of its tile, false where the segment has no such tile.
struct Place {
  Segment segment;
  int begin;
};
DSTRAIN_DEVICE Place place_of(const AttentionSizes& s, int rows) {
  const int index = static_cast<int>(blockIdx.x);
  // The last tiles see the most keys: they come first.
  return {s.segments[index / s.tiles], (s.tiles - 1 - index % s.tiles) * rows};
}

/// Keys [begin, end) that any of the queries [a0, a1) sees.
struct Range {
  int begin;
  int end;
};
DSTRAIN_DEVICE Range keys_of(const AttentionSizes& s, const Segment& g, int a0, int a1) {
  const int last = visible_of(s, g, a1 - 1).last;
  return {visible_of(s, g, a0).first / s.rows_k * s.rows_k, last + 1};
}

/// One row of scores becomes weights: the running maximum and sum go on, what was summed so far is rescaled.
template <typename S>
DSTRAIN_DEVICE void softmax_row(const AttentionSizes& s, const Segment& g, std::int64_t head, int a, int k0,
                                const float* score_row, S* weight_row, float* out_row, float* greatest, float* total) {
  const Visible visible = visible_of(s, g, a);
  const auto score_at = [&](int c) {
    const int j = k0 + c;
    return j >= visible.first && j <= visible.last ? score_of(s, score_row[c], head, j, visible.last).value
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
__global__ void __launch_bounds__(threads)
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
  const int warps = threads / 32;

  load_tile(m.q, q + g.q_begin * s.q_stride + q_column(s, head), s.q_stride, a0, s.rows_q, g.n_q, s.head_dim);
  for (int i = static_cast<int>(threadIdx.x); i < s.rows_q * ld_out; i += threads) m.out[i] = 0.0F;
  for (int r = static_cast<int>(threadIdx.x); r < s.rows_q; r += threads) {
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

/// delta[h, t] = dout . out, one warp per row and head.
template <typename S>
__global__ void delta_kernel(float* delta, const S* dout, const S* out, AttentionSizes s, std::int64_t rows) {
  const std::int64_t t = static_cast<std::int64_t>(blockIdx.x) * (threads / 32) + warp_id();
  if (t >= rows) return;  // the whole warp
  const std::int64_t head = blockIdx.y;
  const std::int64_t at = t * s.out_stride + head * s.head_dim;
  float sum = 0.0F;
  for (int d = lane_id(); d < s.head_dim; d += 32) sum += widen(dout[at + d]) * widen(out[at + d]);
  sum = warp_combine(sum, Sum{});
  if (lane_id() == 0) delta[head * s.T + t] = sum;
}

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
  for (int i = static_cast<int>(threadIdx.x); i < s.rows_q * s.rows_k; i += threads) {
    const int r = i / s.rows_k;
    const int c = i % s.rows_k;
    const int a = a0 + r;
    const int j = k0 + c;
    float weight = 0.0F;
    float dscore = 0.0F;
    const Visible visible = visible_of(s, g, a);
    if (a < g.n_q && j >= visible.first && j <= visible.last) {
      const std::int64_t t = g.q_begin + a;
      const Score score = score_of(s, m.scores[r * ld_scores + c], head, j, visible.last);
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
  for (int i = static_cast<int>(threadIdx.x); i < rows * head_dim; i += threads)
    narrow(to[static_cast<std::int64_t>(i / head_dim) * stride + i % head_dim], sum[i / head_dim * ld + i % head_dim]);
}

template <typename S>
__global__ void __launch_bounds__(threads)
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
  for (int i = static_cast<int>(threadIdx.x); i < s.rows_k * ld_sum; i += threads) m.sum1[i] = m.sum2[i] = 0.0F;
  // Queries that see a key of the tile: their last visible key is not before it, their first not behind it.
  const int offset = g.n_k - g.n_q;
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
__global__ void __launch_bounds__(threads)
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
  for (int i = static_cast<int>(threadIdx.x); i < s.rows_q * ld_sum; i += threads) m.sum1[i] = 0.0F;
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

/// Zeros rows [begin, end) of the heads of a gradient.
template <typename S>
void zero_rows(const Exec& exec, Data x, std::int64_t begin, std::int64_t end, std::int64_t stride, std::int64_t heads,
               std::int64_t head_stride, std::int64_t width) {
  S* at = x.as<S>();
  for_each_element(exec, (end > begin ? end - begin : 0) * heads * width, [=] __device__(std::int64_t i) {
    const std::int64_t t = begin + i / (heads * width);
    narrow(at[t * stride + i / width % heads * head_stride + i % width], 0.0F);
  });
}

std::int64_t aligned(std::int64_t bytes) { return div_up(bytes, 256) * 256; }

/// Pieces of the workspace: segments, slopes, delta.
struct Workspace {
  Segment* segments;
  float* slopes;
  float* delta;
};
std::int64_t segments_bytes(const AttentionShape& s) {
  return aligned(s.T * static_cast<std::int64_t>(sizeof(Segment)));
}
std::int64_t slopes_bytes(const AttentionShape& s) {
  return aligned(s.heads * static_cast<std::int64_t>(sizeof(float)));
}
std::int64_t delta_bytes(const AttentionShape& s) {
  return aligned(s.heads * s.T * static_cast<std::int64_t>(sizeof(float)));
}
Workspace workspace_of(const Exec& exec, const AttentionShape& s) {
  char* at = static_cast<char*>(exec.workspace);
  return {reinterpret_cast<Segment*>(at), reinterpret_cast<float*>(at + segments_bytes(s)),
          reinterpret_cast<float*>(at + segments_bytes(s) + slopes_bytes(s))};
}

/// @throws ShapeError  sizes that do not fit together, or a workspace that is too small
void check(const Exec& exec, const AttentionShape& s, const char* operation) {
  if (s.T < 0 || s.segments < 0 || s.heads <= 0 || s.kv_heads <= 0 || s.heads % s.kv_heads != 0 || s.head_dim <= 0 ||
      s.head_dim > 256 || s.head_dim % 2 != 0 || s.window < 0 || s.key_lens != nullptr ||
      s.q_group() < s.group() * s.head_dim || s.kv_head() < s.head_dim ||
      s.q_stride < (s.kv_heads - 1) * s.q_group() + s.group() * s.head_dim || s.out_stride < s.heads * s.head_dim ||
      s.kv_stride < (s.kv_heads - 1) * s.kv_head() + s.head_dim || !(s.softcap >= 0.0F) ||
      !(s.dropout.probability >= 0.0F && s.dropout.probability < 1.0F)) {
    fail_shape(text_of("{}: T {}, {} segments, {} heads of {} on {}, window {}, strides {} {} {}", operation, s.T,
                       s.segments, s.heads, s.head_dim, s.kv_heads, s.window, s.q_stride, s.kv_stride, s.out_stride));
  }
  for (std::int64_t i = 0; i < s.segments; ++i) {
    const std::int64_t n_q = std::int64_t{s.cu_q[i + 1]} - s.cu_q[i];
    const std::int64_t n_k = std::int64_t{s.cu_k[i + 1]} - s.cu_k[i];
    if (s.cu_q[0] < 0 || s.cu_k[0] < 0 || n_q < 0 || n_k < 0 || n_k > s.max_seqlen) {
      fail_shape(text_of("{}: segment {} has {} queries and {} keys, the longest should be {}", operation, i,
                                   n_q, n_k, s.max_seqlen));
    }
  }
  if (s.segments > 0 && s.cu_q[s.segments] > s.T)
    fail_shape(text_of("{}: the segments end at {} of {} rows", operation, s.cu_q[s.segments], s.T));
  const std::int64_t needed = attention_workspace_bytes(s, 1);
  if (exec.workspace_bytes < needed) {
    fail_shape(text_of("{} needs {} bytes of workspace and got {}", operation, needed, exec.workspace_bytes));
  }
}

/// Segments with queries, on the device and counted; the longest of them in queries and keys.
struct Segments {
  std::int64_t count = 0;
  std::int64_t most_queries = 0;
  std::int64_t most_keys = 0;
};
Segments upload_segments(const Exec& exec, const AttentionShape& s, const Workspace& workspace) {
  // Kept between calls, so that a step allocates nothing once it has grown. CUDA has read it when the copy returns.
  static thread_local std::vector<Segment> list;
  list.clear();
  Segments found;
  for (std::int64_t i = 0; i < s.segments; ++i) {
    const Segment g{s.cu_q[i], s.cu_q[i + 1] - s.cu_q[i], s.cu_k[i], s.cu_k[i + 1] - s.cu_k[i]};
    if (g.n_q == 0) continue;
    list.push_back(g);
    found.most_queries = std::max<std::int64_t>(found.most_queries, g.n_q);
    found.most_keys = std::max<std::int64_t>(found.most_keys, g.n_k);
  }
  found.count = static_cast<std::int64_t>(list.size());
  if (found.count > 0) {
    copy_from_host(exec, workspace.segments, list.data(), found.count * static_cast<std::int64_t>(sizeof(Segment)));
    if (s.alibi_slopes != nullptr)
      copy_from_host(exec, workspace.slopes, s.alibi_slopes, s.heads * static_cast<std::int64_t>(sizeof(float)));
  }
  return found;
}

AttentionSizes sizes_of(const AttentionShape& s, const Workspace& workspace) {
  AttentionSizes a{};
  a.T = s.T;
  a.segments = workspace.segments;
  a.kv_heads = s.kv_heads;
  a.group = s.group();
  a.head_dim = static_cast<std::int32_t>(s.head_dim);
  a.q_stride = s.q_stride;
  a.kv_stride = s.kv_stride;
  a.out_stride = s.out_stride;
  a.q_group = s.q_group();
  a.kv_head = s.kv_head();
  a.scale = s.scale;
  a.window = s.window;
  a.slopes = s.alibi_slopes == nullptr ? nullptr : workspace.slopes;
  a.softcap = s.softcap;
  a.drops = s.dropout.probability > 0.0F;
  a.drop_limit = static_cast<double>(s.dropout.probability) * 0x1p32;
  a.kept = 1.0F / (1.0F - s.dropout.probability);
  a.key = Rng(s.dropout.seed, RngSite::model_dropout, s.dropout.site, s.dropout.sample).key();
  return a;
}

std::int64_t stride_of(std::int64_t n, std::int64_t element) {
  return div_up(n, tile_edge) * tile_edge + 16 / element;
}
std::int64_t piece(std::int64_t count, std::int64_t element) { return div_up(count * element, 128) * 128; }

std::int64_t forward_shared_bytes(const AttentionSizes& s, std::int64_t element) {
  const std::int64_t ld = stride_of(s.head_dim, element);
  return piece(s.rows_q * ld, element) + 2 * piece(s.rows_k * ld, element) +
         piece(s.rows_q * stride_of(s.rows_k, element), element) + piece(s.rows_q * stride_of(s.rows_k, 4), 4) +
         piece(s.rows_q * stride_of(s.head_dim, 4), 4) + 2 * piece(s.rows_q, 4);
}

std::int64_t backward_shared_bytes(const AttentionSizes& s, std::int64_t element, bool by_keys) {
  const std::int64_t ld = stride_of(s.head_dim, element);
  const std::int64_t sums = by_keys ? 2 * piece(s.rows_k * stride_of(s.head_dim, 4), 4)
                                    : piece(s.rows_q * stride_of(s.head_dim, 4), 4);
  return 2 * piece(s.rows_q * ld, element) + 2 * piece(s.rows_k * ld, element) +
         2 * piece(s.rows_q * stride_of(s.rows_k, element), element) +
         2 * piece(s.rows_q * stride_of(s.rows_k, 4), 4) + sums;
}

/// The largest tiles whose shared memory every GPU from compute capability 8.0 on has (two blocks of them where
/// possible would be better, larger tiles are better still).
template <typename Bytes>
std::int64_t choose_tiles(AttentionSizes& s, const Bytes& bytes_of) {
  constexpr std::int64_t most = 160 << 10;
  constexpr struct {
    std::int32_t q, k;
  } tiles[] = {{64, 64}, {32, 64}, {32, 32}, {16, 32}, {16, 16}};
  for (const auto& tile : tiles) {
    s.rows_q = tile.q;
    s.rows_k = tile.k;
    if (bytes_of(s) <= most) break;
  }
  return bytes_of(s);
}

template <typename S>
void forward_as(const Exec& exec, Data out, float* lse, ConstData q, ConstData k, ConstData v,
                const AttentionShape& shape) {
  const Workspace workspace = workspace_of(exec, shape);
  const Segments segments = upload_segments(exec, shape, workspace);
  AttentionSizes s = sizes_of(shape, workspace);
  const auto bytes = choose_tiles(s, [](const auto& a) { return forward_shared_bytes(a, sizeof(S)); });
  s.tiles = static_cast<std::int32_t>(div_up(segments.most_queries, s.rows_q));
  launch(forward_kernel<S>, exec, {segments.count * s.tiles, shape.heads}, threads, bytes, out.as<S>(), lse, q.as<S>(),
         k.as<S>(), v.as<S>(), s);
}

template <typename S>
void zero_outside(const Exec& exec, Data dq, Data dk, Data dv, const AttentionShape& s) {
  const auto zero_keys = [&](std::int64_t begin, std::int64_t end) {
    zero_rows<S>(exec, dk, begin, end, s.kv_stride, s.kv_heads, s.kv_head(), s.head_dim);
    zero_rows<S>(exec, dv, begin, end, s.kv_stride, s.kv_heads, s.kv_head(), s.head_dim);
  };
  for (std::int64_t i = 0; i < s.segments; ++i) {
    if (s.cu_q[i + 1] == s.cu_q[i]) zero_keys(s.cu_k[i], s.cu_k[i + 1]);
  }
  zero_keys(s.segments > 0 ? s.cu_k[s.segments] : 0, s.T);
  zero_rows<S>(exec, dq, s.segments > 0 ? s.cu_q[s.segments] : 0, s.T, s.q_stride, s.kv_heads, s.q_group(),
               s.group() * s.head_dim);
}

template <typename S>
void backward_as(const Exec& exec, Data dq, Data dk, Data dv, ConstData dout, ConstData out, const float* lse,
                 ConstData q, ConstData k, ConstData v, const AttentionShape& shape) {
  zero_outside<S>(exec, dq, dk, dv, shape);
  const Workspace workspace = workspace_of(exec, shape);
  const Segments segments = upload_segments(exec, shape, workspace);
  if (segments.count == 0) return;
  AttentionSizes s = sizes_of(shape, workspace);
  const std::int64_t rows = shape.cu_q[shape.segments];
  launch(delta_kernel<S>, exec, {div_up(rows, threads / 32), shape.heads}, threads, 0, workspace.delta, dout.as<S>(),
         out.as<S>(), s, rows);
  auto bytes = choose_tiles(s, [](const auto& a) { return backward_shared_bytes(a, sizeof(S), true); });
  s.tiles = static_cast<std::int32_t>(div_up(segments.most_keys, s.rows_k));
  launch(keys_backward_kernel<S>, exec, {segments.count * s.tiles, shape.kv_heads}, threads, bytes, dk.as<S>(),
         dv.as<S>(), dout.as<S>(), lse, workspace.delta, q.as<S>(), k.as<S>(), v.as<S>(), s);
  bytes = choose_tiles(s, [](const auto& a) { return backward_shared_bytes(a, sizeof(S), false); });
  s.tiles = static_cast<std::int32_t>(div_up(segments.most_queries, s.rows_q));
  launch(queries_backward_kernel<S>, exec, {segments.count * s.tiles, shape.heads}, threads, bytes, dq.as<S>(),
         dout.as<S>(), lse, workspace.delta, q.as<S>(), k.as<S>(), v.as<S>(), s);
}

}  // namespace

std::int64_t attention_workspace_bytes(const AttentionShape& s, int /*threads*/) {
  return segments_bytes(s) + slopes_bytes(s) + delta_bytes(s);
}

void attention_forward(const Exec& exec, Data out, float* lse_NT, ConstData q, ConstData k, ConstData v,
                       const AttentionShape& s) {
  const int storage = storage_index({q.dtype, k.dtype, v.dtype, out.dtype}, "attention_forward");
  check(exec, s, "attention_forward");
  DSTRAIN_BY_STORAGE(storage, S, forward_as<S>(exec, out, lse_NT, q, k, v, s));
}

void attention_backward(const Exec& exec, Data dq, Data dk, Data dv, ConstData dout, ConstData out, const float* lse_NT,
                        ConstData q, ConstData k, ConstData v, const AttentionShape& s) {
  const int storage = storage_index({q.dtype, k.dtype, v.dtype, out.dtype, dout.dtype, dq.dtype, dk.dtype, dv.dtype},
                                    "attention_backward");
  check(exec, s, "attention_backward");
  if (lse_NT == nullptr) fail_shape("attention_backward needs the log-sum-exp of the forward pass");
  DSTRAIN_BY_STORAGE(storage, S, backward_as<S>(exec, dq, dk, dv, dout, out, lse_NT, q, k, v, s));
}

}  // namespace dstrain::DSTRAIN_KERNELS
