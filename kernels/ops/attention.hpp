// SPDX-License-Identifier: Apache-2.0
/// Causal attention of variable length over packed tokens.
#pragma once

#include <string>

#include "kernels/ops/attention_kernels.hpp"
#include "kernels/ops/common.hpp"
#include "kernels/ops/dropout.hpp"

namespace dstrain {

/// Segment i has queries [cu_q[i], cu_q[i+1]) and keys [cu_k[i], cu_k[i+1]); the last query sees all keys of its
/// segment (bottom-right causal mask): query a of n_q sees keys 0 .. n_k - n_q + a. Training: cu_q == cu_k. Rows
/// outside every segment are not touched by forward; backward writes zeros into their gradients [cu_q[segments], T).
struct AttentionShape {
  std::int64_t T;  ///< rows of q, out (padded)
  std::int64_t segments;
  const std::int32_t* cu_q;  ///< host memory [segments + 1]
  const std::int32_t* cu_k;
  std::int32_t max_seqlen;  ///< longest key segment
  std::int64_t heads;       ///< query heads; query head h reads key/value head h / (heads / kv_heads)
  std::int64_t kv_heads;
  std::int64_t head_dim;
  std::int64_t q_stride;  ///< elements from one token to the next
  std::int64_t kv_stride;
  std::int64_t out_stride;
  float scale;              ///< usually 1/sqrt(head_dim)
  std::int32_t window = 0;  ///< sliding window: key j visible to query i iff i - j < window; 0: none
  /// Host memory [segments]: only the first key_lens[i] keys of segment i are seen, by query a those of 0 .. a. What
  /// stands behind them is padding whose outputs count. cu_q and cu_k are the same then. Null: all keys.
  const std::int32_t* key_lens = nullptr;
  /// Elements from the heads of one key/value head to those of the next, where q, k, v do not lie one after the other
  /// but in groups (Bloom, InternLM2). 0: without a gap.
  std::int64_t q_group_stride = 0;
  std::int64_t kv_head_stride = 0;
  /// Host memory [heads]: slope * (j - i) is added to the score of query i and key j (positions in the segment, the
  /// last query at the last key). Null: nothing is. Press, Smith and Lewis, arXiv:2108.12409.
  const float* alibi_slopes = nullptr;
  float softcap =
      0.0F;  ///< not 0: scaled scores become softcap * tanh(score / softcap) before the mask. arXiv:2408.00118
  /// Weights are dropped behind the softmax; head h uses site + h, element (row of q) * 2^24 + key of the segment.
  DropoutKey dropout = {};
  AttentionKernels kernels = AttentionKernels::own;

  [[nodiscard]] constexpr std::int64_t group() const noexcept { return heads / kv_heads; }
  [[nodiscard]] constexpr std::int64_t q_group() const noexcept {
    return q_group_stride > 0 ? q_group_stride : group() * head_dim;
  }
  [[nodiscard]] constexpr std::int64_t kv_head() const noexcept {
    return kv_head_stride > 0 ? kv_head_stride : head_dim;
  }
};

namespace ops {
/// out = softmax(scale * q k^T + bias + mask) v, sums in f32; lse[h * T + t] = log sum exp of the scaled scores, kept
/// for backward (may be null). q, k, v point at their first column inside a fused row. Local. Rabe and Staats,
/// arXiv:2112.05682; Dao, arXiv:2307.08691 (tiles, recomputation).
void attention_forward(const Exec& exec, Data out, float* lse_NT, ConstData q, ConstData k, ConstData v,
                       const AttentionShape& s);

/// dq, dk, dv from dout; strides as q and k. Writes all of them. Bits do not depend on the number of threads.
void attention_backward(const Exec& exec, Data dq, Data dk, Data dv, ConstData dout, ConstData out, const float* lse_NT,
                        ConstData q, ConstData k, ConstData v, const AttentionShape& s);
/// For both passes; depends on sizes only (cu_q, cu_k are not read), with `threads` as max_threads() will be.
std::int64_t attention_workspace_bytes(const AttentionShape& s, int threads, DeviceKind device = DeviceKind::cpu);

/// Makes what s.kernels needs before the first step, for every call of up to s.T rows in segments of up to
/// s.max_seqlen, and checks it against dstrain's own kernels on a small problem; where it fails the own kernels are
/// used, with one warning. Nothing to do for `own`. Takes seconds. cu_q, cu_k and segments are not read; the workspace
/// is written.
void attention_prepare(const Exec& exec, const AttentionShape& s, DType dtype, bool backward);
/// Which kernels a call runs and why, for people: "cuDNN, 8 of 32 heads at a time" or "own kernels: <why>".
std::string attention_choice(const AttentionShape& s, DType dtype, bool backward, DeviceKind device = DeviceKind::cpu);
}  // namespace ops

}  // namespace dstrain
