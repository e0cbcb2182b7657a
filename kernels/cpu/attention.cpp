// SPDX-License-Identifier: Apache-2.0
/// Attention on the CPU: checks, tasks and threads. A task is one key/value head of one segment (forward: and a range
/// of queries), so that dk and dv have one writer; the longest tasks start first. Who takes which task is left to
/// chance: no bit depends on it.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "core/parallel.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/bf16_products.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/dropout.hpp"
#include "kernels/cpu/simd/attention_functions.hpp"

namespace dstrain::cpu {

namespace {

constexpr IsaTables<AttentionForwardFunctions> forward_tables = DSTRAIN_ISA_TABLES(attention_forward);
constexpr IsaTables<AttentionBackwardFunctions> backward_tables = DSTRAIN_ISA_TABLES(attention_backward);
constexpr IsaTables<AttentionBf16Functions> bf16_tables = DSTRAIN_ISA_TABLES(attention_bf16);

/// Rows of queries, over all heads of the group, that make packing the keys for one task cheap.
constexpr std::int64_t rows_per_task = 512;

std::int64_t round_up(std::int64_t n, std::int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/// Floats of one thread, whole cache lines.
std::int64_t words_per_thread(const AttentionShape& s) {
  return round_up(std::max(forward_tables.get().workspace_words(s.max_seqlen, s.head_dim),
                           backward_tables.get().workspace_words(s.max_seqlen, s.head_dim)),
                  16);
}

/// Bytes for the order of the segments: there are no more non-empty ones than rows.
std::int64_t order_bytes(const AttentionShape& s) {
  return round_up(s.T * static_cast<std::int64_t>(sizeof(std::int32_t)), 64);
}

/// @throws ShapeError  sizes that do not fit together, or a workspace that is too small
void check(const Exec& exec, const AttentionShape& s, const char* operation) {
  if (s.T < 0 || s.segments < 0 || s.heads <= 0 || s.kv_heads <= 0 || s.heads % s.kv_heads != 0 || s.head_dim <= 0 ||
      s.head_dim > 256 || s.head_dim % 2 != 0 || s.window < 0 || s.q_group() < s.group() * s.head_dim ||
      s.kv_head() < s.head_dim || s.q_stride < (s.kv_heads - 1) * s.q_group() + s.group() * s.head_dim ||
      s.out_stride < s.heads * s.head_dim || s.kv_stride < (s.kv_heads - 1) * s.kv_head() + s.head_dim ||
      !(s.softcap >= 0.0F) || !(s.dropout.probability >= 0.0F && s.dropout.probability < 1.0F)) {
    throw ShapeError(fmt::format("{}: T {}, {} segments, {} heads of {} on {}, window {}, strides {} {} {}", operation,
                                 s.T, s.segments, s.heads, s.head_dim, s.kv_heads, s.window, s.q_stride, s.kv_stride,
                                 s.out_stride));
  }
  for (std::int64_t i = 0; i < s.segments; ++i) {
    const std::int64_t n_q = std::int64_t{s.cu_q[i + 1]} - s.cu_q[i];
    const std::int64_t n_k = std::int64_t{s.cu_k[i + 1]} - s.cu_k[i];
    if (s.cu_q[0] < 0 || s.cu_k[0] < 0 || n_q < 0 || n_k < 0 || n_k > s.max_seqlen) {
      throw ShapeError(fmt::format("{}: segment {} has {} queries and {} keys, the longest should be {}", operation, i,
                                   n_q, n_k, s.max_seqlen));
    }
    if (s.key_lens != nullptr && (s.cu_q[i] != s.cu_k[i] || n_q != n_k || s.key_lens[i] < 0 || s.key_lens[i] > n_k))
      throw ShapeError(fmt::format("{}: {} of {} keys of segment {} are to be seen", operation, s.key_lens[i], n_k, i));
  }
  if (s.segments > 0 && s.cu_q[s.segments] > s.T) {
    throw ShapeError(fmt::format("{}: the segments end at {} of {} rows", operation, s.cu_q[s.segments], s.T));
  }
  const std::int64_t needed = attention_workspace_bytes(s, max_threads());
  if (exec.workspace_bytes < needed) {
    throw ShapeError(fmt::format("{} needs {} bytes of workspace and got {}", operation, needed, exec.workspace_bytes));
  }
}

/// Whether products take pairs of bf16. Not beside matrix units: there VDPBF16PS is no faster than products of floats.
bool by_pairs(DType dtype) { return dtype == DType::bf16 && bf16_products() == Bf16Products::pairs; }

/// The segments with queries, those with most work first, written to `order`; returns how many.
std::int64_t order_segments(std::int32_t* order, const AttentionShape& s) {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < s.segments; ++i) {
    if (s.cu_q[i + 1] > s.cu_q[i]) order[count++] = static_cast<std::int32_t>(i);
  }
  const auto work = [&](std::int32_t i) {
    return std::int64_t{s.cu_q[i + 1] - s.cu_q[i]} * (s.cu_k[i + 1] - s.cu_k[i]);
  };
  std::sort(order, order + count,
            [&](std::int32_t a, std::int32_t b) { return work(a) != work(b) ? work(a) > work(b) : a < b; });
  return count;
}

/// Calls body(task index, workspace of the thread) for each task.
template <typename Body>
void run_tasks(std::int64_t tasks, float* workspace, std::int64_t words, const Body& body) {
  std::atomic<std::int64_t> next = 0;
  const int threads = static_cast<int>(std::min<std::int64_t>(tasks, max_threads()));
  const auto loop = [&](float* space) {
    for (std::int64_t t = next++; t < tasks; t = next++) body(t, space);
  };
  if (threads <= 1) {
    loop(workspace);
    return;
  }
#pragma omp parallel num_threads(threads)
  loop(workspace + omp_get_thread_num() * words);
}

/// AttentionTask::dropout.
void drop_weights(float* factors, const AttentionTask& t, std::int64_t g, std::int64_t query, std::int64_t key,
                  std::int64_t count) {
  DropoutKey stream = *t.dropout_key;
  stream.site += static_cast<std::uint32_t>(t.dropout_head + g);
  dropout_factors(factors, stream,
                  (static_cast<std::uint64_t>(t.first_row + query) << 24) + static_cast<std::uint64_t>(key), count);
}

/// The operands of segment `i` and key/value head `head`.
AttentionTask task_of(const AttentionShape& s, ConstData out, float* lse_NT, ConstData q, ConstData k, ConstData v,
                      std::int64_t i, std::int64_t head) {
  const std::int64_t group = s.group();
  const std::int64_t q_row = s.cu_q[i];
  const std::int64_t kv_at = s.cu_k[i] * s.kv_stride + head * s.kv_head();
  AttentionTask t{};
  t.q = q.at(q_row * s.q_stride + head * s.q_group()).data;
  t.k = k.at(kv_at).data;
  t.v = v.at(kv_at).data;
  t.out = const_cast<void*>(
      out.at(q_row * s.out_stride + head * group * s.head_dim).data);  // written by forward only, which was given Data
  t.lse = lse_NT == nullptr ? nullptr : lse_NT + head * group * s.T + q_row;
  t.lse_stride = s.T;
  t.q_stride = s.q_stride;
  t.kv_stride = s.kv_stride;
  t.out_stride = s.out_stride;
  t.n_q = s.cu_q[i + 1] - s.cu_q[i];
  t.n_k = s.key_lens == nullptr ? s.cu_k[i + 1] - s.cu_k[i] : s.key_lens[i];
  t.shift = s.key_lens == nullptr ? t.n_k - t.n_q : 0;
  t.q_end = t.n_q;
  t.group = group;
  t.head_dim = s.head_dim;
  t.window = s.window;
  t.scale = s.scale;
  t.slopes = s.alibi_slopes == nullptr ? nullptr : s.alibi_slopes + head * group;
  t.softcap = s.softcap;
  t.dropout = s.dropout.probability > 0.0F ? drop_weights : nullptr;
  t.dropout_key = &s.dropout;
  t.dropout_head = head * group;
  t.first_row = q_row;
  return t;
}

/// Zeros rows [begin, end) of a gradient.
void zero_rows(Data x, std::int64_t begin, std::int64_t end, std::int64_t stride, std::int64_t columns) {
  const auto bytes = static_cast<std::size_t>(columns) * size_of(x.dtype);
  for (std::int64_t t = begin; t < end; ++t) std::memset(x.at(t * stride).data, 0, bytes);
}

/// Calls zero(begin, end) for the rows that no task writes: behind the segments, of segments without queries, and
/// (cu is cu_k) behind the keys that are seen.
template <typename Zero>
void zero_outside(const AttentionShape& s, const std::int32_t* cu, bool keys, const Zero& zero) {
  for (std::int64_t i = 0; i < s.segments; ++i) {
    if (s.cu_q[i + 1] == s.cu_q[i]) zero(cu[i], cu[i + 1]);
    if (keys && s.key_lens != nullptr) zero(cu[i] + s.key_lens[i], cu[i + 1]);
  }
  zero(s.segments > 0 ? cu[s.segments] : 0, s.T);
}

}  // namespace

std::int64_t attention_workspace_bytes(const AttentionShape& s, int threads) {
  return order_bytes(s) + threads * words_per_thread(s) * static_cast<std::int64_t>(sizeof(float));
}

void attention_prepare(const Exec& /*exec*/, const AttentionShape& /*s*/, DType /*dtype*/, bool /*backward*/) {}

std::string attention_choice(const AttentionShape& /*s*/, DType /*dtype*/, bool /*backward*/) { return "own kernels"; }

void attention_forward(const Exec& exec, Data out, float* lse_NT, ConstData q, ConstData k, ConstData v,
                       const AttentionShape& s) {
  const int storage = storage_index({q.dtype, k.dtype, v.dtype, out.dtype}, "attention_forward");
  check(exec, s, "attention_forward");
  auto* order = static_cast<std::int32_t*>(exec.workspace);
  auto* space = reinterpret_cast<float*>(static_cast<char*>(exec.workspace) + order_bytes(s));
  const std::int64_t segments = order_segments(order, s);
  const std::int64_t queries = std::max<std::int64_t>(64, round_up(rows_per_task / (s.heads / s.kv_heads), 64));
  const auto pieces_of = [&](std::int64_t i) {
    return (s.cu_q[order[i] + 1] - s.cu_q[order[i]] + queries - 1) / queries;
  };
  std::int64_t tasks = 0;
  for (std::int64_t i = 0; i < segments; ++i) tasks += pieces_of(i) * s.kv_heads;
  const auto run = by_pairs(q.dtype) ? bf16_tables.get().forward : forward_tables.get().run[storage];
  run_tasks(tasks, space, words_per_thread(s), [&](std::int64_t index, float* workspace) {
    std::int64_t i = 0;
    for (; index >= pieces_of(i) * s.kv_heads; ++i) index -= pieces_of(i) * s.kv_heads;
    AttentionTask t = task_of(s, out, lse_NT, q, k, v, order[i], index % s.kv_heads);
    // The last queries see the most keys: they come first.
    t.q_begin = (pieces_of(i) - 1 - index / s.kv_heads) * queries;
    t.q_end = std::min(t.n_q, t.q_begin + queries);
    t.workspace = workspace;
    run(t);
  });
}

void attention_backward(const Exec& exec, Data dq, Data dk, Data dv, ConstData dout, ConstData out, const float* lse_NT,
                        ConstData q, ConstData k, ConstData v, const AttentionShape& s) {
  const int storage = storage_index({q.dtype, k.dtype, v.dtype, out.dtype, dout.dtype, dq.dtype, dk.dtype, dv.dtype},
                                    "attention_backward");
  check(exec, s, "attention_backward");
  if (lse_NT == nullptr) throw ShapeError("attention_backward needs the log-sum-exp of the forward pass");
  auto* order = static_cast<std::int32_t*>(exec.workspace);
  auto* space = reinterpret_cast<float*>(static_cast<char*>(exec.workspace) + order_bytes(s));
  const std::int64_t segments = order_segments(order, s);
  const auto run = by_pairs(q.dtype) ? bf16_tables.get().backward : backward_tables.get().run[storage];
  run_tasks(segments * s.kv_heads, space, words_per_thread(s), [&](std::int64_t index, float* workspace) {
    const std::int64_t i = order[index / s.kv_heads];
    const std::int64_t head = index % s.kv_heads;
    const std::int64_t q_at = s.cu_q[i] * s.q_stride + head * s.q_group();
    const std::int64_t kv_at = s.cu_k[i] * s.kv_stride + head * s.kv_head();
    AttentionTask t = task_of(s, out, const_cast<float*>(lse_NT), q, k, v, i, head);  // read only there
    t.workspace = workspace;
    run(t, {dout.at(s.cu_q[i] * s.out_stride + head * s.group() * s.head_dim).data, dq.at(q_at).data, dk.at(kv_at).data,
            dv.at(kv_at).data});
  });
  for (std::int64_t head = 0; head < s.kv_heads; ++head) {
    zero_outside(s, s.cu_q, false, [&](std::int64_t begin, std::int64_t end) {
      zero_rows(dq.at(head * s.q_group()), begin, end, s.q_stride, s.group() * s.head_dim);
    });
    zero_outside(s, s.cu_k, true, [&](std::int64_t begin, std::int64_t end) {
      zero_rows(dk.at(head * s.kv_head()), begin, end, s.kv_stride, s.head_dim);
      zero_rows(dv.at(head * s.kv_head()), begin, end, s.kv_stride, s.head_dim);
    });
  }
}

}  // namespace dstrain::cpu
