// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/attention_cudnn_calls.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

namespace dstrain::cudnn {

namespace {

constexpr std::int64_t aligned(std::int64_t bytes) { return (bytes + 255) / 256 * 256; }

/// Elements from one query head to the next; 0 where they do not lie at one distance.
std::int64_t q_head_of(const AttentionShape& s) {
  if (s.q_group() == s.group() * s.head_dim) return s.head_dim;
  return s.group() == 1 ? s.q_group() : 0;
}

/// use(call) for every graph of calls_for(), without allocating.
template <typename Use>
void for_each_call(const AttentionShape& s, DType dtype, bool backward, const Use& use) {
  for (std::int64_t rows = rows_for(std::min<std::int64_t>(s.T, s.max_seqlen)); rows >= smallest_rows; rows /= 2) {
    const std::int64_t shortest = rows == smallest_rows ? 1 : rows / 2 + 1;
    for (const std::int64_t batch : batches) {
      if (batch > 1 && batch * shortest > s.T) continue;
      if (const auto call = call_of(s, dtype, backward, batch, rows)) use(*call);
    }
  }
}

}  // namespace

std::string_view why_not(const AttentionShape& s) {
  if (s.head_dim % 8 != 0 || s.head_dim > 256) return "heads are no multiple of 8 elements, or more than 256";
  if (q_head_of(s) % 8 != 0 || s.kv_head() % 8 != 0 || s.q_stride % 8 != 0 || s.kv_stride % 8 != 0 ||
      s.out_stride % 8 != 0)
    return "rows or heads do not begin at multiples of 16 bytes";
  if (q_head_of(s) == 0) return "query heads do not lie at one distance";
  if (s.softcap > 0.0F) return "scores are capped";
  if (s.alibi_slopes != nullptr) return "scores have an ALiBi bias";
  if (s.dropout.probability > 0.0F) return "weights are dropped by dstrain's random numbers";
  if (s.key_lens != nullptr) return "padding counts";
  if (s.T * std::max({s.q_stride, s.kv_stride, s.out_stride}) > std::numeric_limits<std::int32_t>::max())
    return "places need more than 32 bits";
  return {};
}

std::string_view why_not_segments(const AttentionShape& s) {
  for (std::int64_t i = 0; i < s.segments + 1 && s.cu_k != s.cu_q; ++i) {
    if (s.cu_k[i] != s.cu_q[i]) return "segments have other keys than queries";
  }
  return {};
}

std::int64_t workspace_bytes(const Call& call) {
  constexpr std::int64_t descriptors = 64 << 10;  // 17,152 bytes of any call
  if (!call.backward) return descriptors;
  const std::int64_t cells = call.batch * call.heads * call.rows;
  std::int64_t bytes = aligned(4 * cells);                                          // output times its gradient, f32
  bytes += call.deterministic ? 2 * cells * call.rows : 4 * cells * call.head_dim;  // of scores; or sums of dq, f32
  if (call.heads != call.kv_heads) bytes += 2 * (2 * cells * call.head_dim);        // dk and dv of every query head
  return bytes + descriptors;
}

std::optional<Call> call_of(const AttentionShape& s, DType dtype, bool backward, std::int64_t batch,
                            std::int64_t rows) {
  Call call{.backward = backward,
            .deterministic = s.kernels != AttentionKernels::cudnn_any_order,
            .dtype = dtype,
            .batch = batch,
            .rows = rows,
            .heads = s.heads,
            .kv_heads = s.kv_heads,
            .head_dim = s.head_dim,
            .q_stride = s.q_stride,
            .kv_stride = s.kv_stride,
            .out_stride = s.out_stride,
            .q_head = q_head_of(s),
            .kv_head = s.kv_head(),
            .window = s.window < rows ? s.window : 0};
  for (std::int64_t kv_heads = s.kv_heads; kv_heads >= 1; --kv_heads) {
    if (s.kv_heads % kv_heads != 0) continue;
    call.kv_heads = kv_heads;
    call.heads = kv_heads * s.group();
    const std::int64_t bytes = workspace_bytes(call);
    if (bytes <= wanted_bytes || (kv_heads == 1 && bytes <= most_bytes)) return call;
  }
  return std::nullopt;
}

std::vector<Call> calls_for(const AttentionShape& s, DType dtype, bool backward) {
  std::vector<Call> calls;
  if (why_not(s).empty()) for_each_call(s, dtype, backward, [&](const Call& call) { calls.push_back(call); });
  return calls;
}

Pieces pieces_of(const AttentionShape& s) {
  if (s.kernels == AttentionKernels::own || !why_not(s).empty()) return {};
  Pieces pieces;
  pieces.integers = aligned(s.T * integers_per_segment * static_cast<std::int64_t>(sizeof(std::int32_t)));
  pieces.statistics = aligned(s.T * s.heads * static_cast<std::int64_t>(sizeof(float)));
  AttentionShape any = s;
  any.window = 0;
  for_each_call(any, DType::bf16, true,
                [&](const Call& call) { pieces.plans = std::max(pieces.plans, aligned(workspace_bytes(call))); });
  return pieces;
}

std::int64_t trial_operand_bytes(const AttentionShape& s) {
  // q, k, v and their gradients by both, out by both and its gradient, the log-sum-exp by both.
  const std::int64_t elements = 3 * (s.q_stride + 2 * s.kv_stride) + 3 * s.out_stride;
  return 32 * 256 + trial_rows * (2 * elements + 2 * 4 * s.heads);
}

std::int64_t trial_bytes(const AttentionShape& s) {
  if (pieces_of(s).total() == 0) return 0;
  return trial_operand_bytes(s) + 16 * 256 + trial_rows * (2 * 4 * integers_per_segment + 2 * 4 * s.heads);
}

void Batches::sort(const AttentionShape& s) {
  list_.clear();
  order_.clear();
  std::int64_t longest = 0;
  const auto length = [&](std::int64_t i) { return std::int64_t{s.cu_q[i + 1]} - s.cu_q[i]; };
  for (std::int64_t i = 0; i < s.segments; ++i) longest = std::max(longest, length(i));
  for (std::int64_t rows = rows_for(longest); rows >= smallest_rows; rows /= 2) {
    auto first = static_cast<std::int64_t>(order_.size());
    for (std::int64_t i = 0; i < s.segments; ++i) {
      if (length(i) > 0 && rows_for(length(i)) == rows) order_.push_back(i);
    }
    for (const std::int64_t batch : batches) {
      for (; static_cast<std::int64_t>(order_.size()) - first >= batch; first += batch)
        list_.push_back({rows, first, batch});
    }
  }
}

}  // namespace dstrain::cudnn
