// SPDX-License-Identifier: Apache-2.0
/// Attention on tiles with recomputation. Dao et al., "FlashAttention", arXiv:2205.14135 and 2307.08691.
///
/// Forward: a block per tile of queries and head walks the keys with a running maximum. Backward: a block per tile of
/// keys and key/value head walks the queries of its group for dk and dv, a block per tile of queries walks the keys for
/// dq. Each number has one writer and a fixed order: the same bits in every run, without atomics. This file checks,
/// brings the segments and chooses between cuDNN (attention_cudnn.hpp, where it is asked for), the kernels of
/// attention_mma_*.cu (16 bits, heads of up to 128) and those of attention_tiles_*.cuh (the rest).
#include <algorithm>
#include <type_traits>
#include <vector>

#include "kernels/cuda/attention_cudnn.hpp"
#include "kernels/cuda/attention_mma.hpp"
#include "kernels/cuda/attention_tiles_backward.cuh"
#include "kernels/cuda/attention_tiles_forward.cuh"
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/copy.hpp"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

/// delta[h, t] = dout . out, one warp per row and head.
template <typename S>
__global__ void delta_kernel(float* delta, const S* dout, const S* out, AttentionSizes s, std::int64_t rows) {
  const std::int64_t t = static_cast<std::int64_t>(blockIdx.x) * (attention_threads / 32) + warp_id();
  if (t >= rows) return;  // the whole warp
  const std::int64_t head = blockIdx.y;
  const std::int64_t at = t * s.out_stride + head * s.head_dim;
  float sum = 0.0F;
  for (int d = lane_id(); d < s.head_dim; d += 32) sum += widen(dout[at + d]) * widen(out[at + d]);
  sum = warp_combine(sum, Sum{});
  if (lane_id() == 0) delta[head * s.T + t] = sum;
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

std::int64_t own_bytes(const AttentionShape& s) { return segments_bytes(s) + slopes_bytes(s) + delta_bytes(s); }
/// cuDNN's part lies behind our own.
char* cudnn_workspace(const Exec& exec, const AttentionShape& s) {
  return static_cast<char*>(exec.workspace) + own_bytes(s);
}

/// @throws ShapeError  sizes that do not fit together, or a workspace that is too small
void check(const Exec& exec, const AttentionShape& s, const char* operation) {
  if (s.T < 0 || s.segments < 0 || s.heads <= 0 || s.kv_heads <= 0 || s.heads % s.kv_heads != 0 || s.head_dim <= 0 ||
      s.head_dim > 256 || s.head_dim % 2 != 0 || s.window < 0 || s.q_group() < s.group() * s.head_dim ||
      s.kv_head() < s.head_dim || s.q_stride < (s.kv_heads - 1) * s.q_group() + s.group() * s.head_dim ||
      s.out_stride < s.heads * s.head_dim || s.kv_stride < (s.kv_heads - 1) * s.kv_head() + s.head_dim ||
      !(s.softcap >= 0.0F) || !(s.dropout.probability >= 0.0F && s.dropout.probability < 1.0F)) {
    fail_shape(text_of("{}: T {}, {} segments, {} heads of {} on {}, window {}, strides {} {} {}", operation, s.T,
                       s.segments, s.heads, s.head_dim, s.kv_heads, s.window, s.q_stride, s.kv_stride, s.out_stride));
  }
  for (std::int64_t i = 0; i < s.segments; ++i) {
    const std::int64_t n_q = std::int64_t{s.cu_q[i + 1]} - s.cu_q[i];
    const std::int64_t n_k = std::int64_t{s.cu_k[i + 1]} - s.cu_k[i];
    if (s.key_lens != nullptr && (s.cu_q[i] != s.cu_k[i] || n_q != n_k || s.key_lens[i] < 0 || s.key_lens[i] > n_k))
      fail_shape(text_of("{}: {} of {} keys of segment {} are to be seen", operation, s.key_lens[i], n_k, i));
    if (s.cu_q[0] < 0 || s.cu_k[0] < 0 || n_q < 0 || n_k < 0 || n_k > s.max_seqlen) {
      fail_shape(text_of("{}: segment {} has {} queries and {} keys, the longest should be {}", operation, i, n_q, n_k,
                         s.max_seqlen));
    }
  }
  if (s.segments > 0 && s.cu_q[s.segments] > s.T)
    fail_shape(text_of("{}: the segments end at {} of {} rows", operation, s.cu_q[s.segments], s.T));
  const std::int64_t needed = own_bytes(s) + cudnn::pieces_of(s).total();
  if (exec.workspace_bytes < needed) {
    fail_shape(text_of("{} needs {} bytes of workspace and got {}", operation, needed, exec.workspace_bytes));
  }
}

Segments upload_segments(const Exec& exec, const AttentionShape& s, const Workspace& workspace) {
  // Kept between calls, so that a step allocates nothing once it has grown. CUDA has read it when the copy returns.
  static thread_local std::vector<Segment> list;
  list.clear();
  Segments found;
  for (std::int64_t i = 0; i < s.segments; ++i) {
    const std::int32_t n_q = s.cu_q[i + 1] - s.cu_q[i];
    const std::int32_t n_k = s.cu_k[i + 1] - s.cu_k[i];
    const Segment g = s.key_lens == nullptr ? Segment{s.cu_q[i], n_q, s.cu_k[i], n_k, n_k - n_q}
                                            : Segment{s.cu_q[i], n_q, s.cu_k[i], s.key_lens[i], 0};
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

std::int64_t stride_of(std::int64_t n, std::int64_t element) { return div_up(n, tile_edge) * tile_edge + 16 / element; }
std::int64_t piece(std::int64_t count, std::int64_t element) { return div_up(count * element, 128) * 128; }

std::int64_t forward_shared_bytes(const AttentionSizes& s, std::int64_t element) {
  const std::int64_t ld = stride_of(s.head_dim, element);
  return piece(s.rows_q * ld, element) + 2 * piece(s.rows_k * ld, element) +
         piece(s.rows_q * stride_of(s.rows_k, element), element) + piece(s.rows_q * stride_of(s.rows_k, 4), 4) +
         piece(s.rows_q * stride_of(s.head_dim, 4), 4) + 2 * piece(s.rows_q, 4);
}

std::int64_t backward_shared_bytes(const AttentionSizes& s, std::int64_t element, bool by_keys) {
  const std::int64_t ld = stride_of(s.head_dim, element);
  const std::int64_t sums =
      by_keys ? 2 * piece(s.rows_k * stride_of(s.head_dim, 4), 4) : piece(s.rows_q * stride_of(s.head_dim, 4), 4);
  return 2 * piece(s.rows_q * ld, element) + 2 * piece(s.rows_k * ld, element) +
         2 * piece(s.rows_q * stride_of(s.rows_k, element), element) + 2 * piece(s.rows_q * stride_of(s.rows_k, 4), 4) +
         sums;
}

/// The largest tiles whose shared memory every GPU from compute capability 8.0 on has (two blocks of them where
/// possible would be better, larger tiles are better still).
template <typename Bytes>
std::int64_t choose_tiles(AttentionSizes& s, const Bytes& bytes_of) {
  constexpr std::int64_t most = 160 << 10;
  constexpr struct { std::int32_t q, k; } tiles[] = {{64, 64}, {32, 64}, {32, 32}, {16, 32}, {16, 16}};
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
  if constexpr (sizeof(S) == 2) {
    if (cudnn_forward(exec, out, lse, q, k, v, shape, cudnn_workspace(exec, shape))) return;
  }
  const Workspace workspace = workspace_of(exec, shape);
  const Segments segments = upload_segments(exec, shape, workspace);
  AttentionSizes s = sizes_of(shape, workspace);
  if constexpr (sizeof(S) == 2) {
    if (mma_takes(shape)) {
      mma_forward<S>(exec, out.as<S>(), lse, {q.as<S>(), k.as<S>(), v.as<S>()}, s, segments, shape.heads);
      return;
    }
  }
  const auto bytes = choose_tiles(s, [](const auto& a) { return forward_shared_bytes(a, sizeof(S)); });
  s.tiles = static_cast<std::int32_t>(div_up(segments.most_queries, s.rows_q));
  launch(forward_kernel<S>, exec, {segments.count * s.tiles, shape.heads}, attention_threads, bytes, out.as<S>(), lse,
         q.as<S>(), k.as<S>(), v.as<S>(), s);
}

template <typename S>
void zero_outside(const Exec& exec, Data dq, Data dk, Data dv, const AttentionShape& s) {
  const auto zero_keys = [&](std::int64_t begin, std::int64_t end) {
    zero_rows<S>(exec, dk, begin, end, s.kv_stride, s.kv_heads, s.kv_head(), s.head_dim);
    zero_rows<S>(exec, dv, begin, end, s.kv_stride, s.kv_heads, s.kv_head(), s.head_dim);
  };
  for (std::int64_t i = 0; i < s.segments; ++i) {
    if (s.cu_q[i + 1] == s.cu_q[i]) zero_keys(s.cu_k[i], s.cu_k[i + 1]);
    if (s.key_lens != nullptr) zero_keys(s.cu_k[i] + s.key_lens[i], s.cu_k[i + 1]);
  }
  zero_keys(s.segments > 0 ? s.cu_k[s.segments] : 0, s.T);
  zero_rows<S>(exec, dq, s.segments > 0 ? s.cu_q[s.segments] : 0, s.T, s.q_stride, s.kv_heads, s.q_group(),
               s.group() * s.head_dim);
}

template <typename S>
void backward_as(const Exec& exec, Data dq, Data dk, Data dv, ConstData dout, ConstData out, const float* lse,
                 ConstData q, ConstData k, ConstData v, const AttentionShape& shape) {
  zero_outside<S>(exec, dq, dk, dv, shape);
  if constexpr (sizeof(S) == 2) {
    if (cudnn_backward(exec, dq, dk, dv, dout, out, lse, q, k, v, shape, cudnn_workspace(exec, shape))) return;
  }
  const Workspace workspace = workspace_of(exec, shape);
  const Segments segments = upload_segments(exec, shape, workspace);
  if (segments.count == 0) return;
  AttentionSizes s = sizes_of(shape, workspace);
  const std::int64_t rows = shape.cu_q[shape.segments];
  launch(delta_kernel<S>, exec, {div_up(rows, attention_threads / 32), shape.heads}, attention_threads, 0,
         workspace.delta, dout.as<S>(), out.as<S>(), s, rows);
  if constexpr (sizeof(S) == 2) {
    if (mma_takes(shape)) {
      mma_backward<S>(exec, {dq.as<S>(), dk.as<S>(), dv.as<S>()}, {dout.as<S>(), lse, workspace.delta},
                      {q.as<S>(), k.as<S>(), v.as<S>()}, s, segments, shape.heads);
      return;
    }
  }
  auto bytes = choose_tiles(s, [](const auto& a) { return backward_shared_bytes(a, sizeof(S), true); });
  s.tiles = static_cast<std::int32_t>(div_up(segments.most_keys, s.rows_k));
  launch(keys_backward_kernel<S>, exec, {segments.count * s.tiles, shape.kv_heads}, attention_threads, bytes,
         dk.as<S>(), dv.as<S>(), dout.as<S>(), lse, workspace.delta, q.as<S>(), k.as<S>(), v.as<S>(), s);
  bytes = choose_tiles(s, [](const auto& a) { return backward_shared_bytes(a, sizeof(S), false); });
  s.tiles = static_cast<std::int32_t>(div_up(segments.most_queries, s.rows_q));
  launch(queries_backward_kernel<S>, exec, {segments.count * s.tiles, shape.heads}, attention_threads, bytes,
         dq.as<S>(), dout.as<S>(), lse, workspace.delta, q.as<S>(), k.as<S>(), v.as<S>(), s);
}

}  // namespace

std::int64_t attention_workspace_bytes(const AttentionShape& s, int /*attention_threads*/) {
  return own_bytes(s) + cudnn::pieces_of(s).total() + cudnn::trial_bytes(s);
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
