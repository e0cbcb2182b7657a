// SPDX-License-Identifier: Apache-2.0
/// Causal attention of variable length over packed tokens.
#pragma once

#include "kernels/ops/common.hpp"

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
};

namespace ops {
/// out = softmax(scale * q k^T + mask) v, sums in f32; lse[h * T + t] = log sum exp of the scaled scores, kept for
/// backward (may be null). q, k, v point at their first column inside a fused row. Local. Rabe and Staats,
/// arXiv:2112.05682; Dao, arXiv:2307.08691 (tiles, recomputation).
void attention_forward(const Exec& exec, Data out, float* lse_NT, ConstData q, ConstData k, ConstData v,
                       const AttentionShape& s);

/// dq, dk, dv from dout; strides as q and k. Writes all of them. Bits do not depend on the number of threads.
void attention_backward(const Exec& exec, Data dq, Data dk, Data dv, ConstData dout, ConstData out, const float* lse_NT,
                        ConstData q, ConstData k, ConstData v, const AttentionShape& s);
/// For both passes; depends on sizes only (cu_q, cu_k are not read), with `threads` as max_threads() will be.
std::int64_t attention_workspace_bytes(const AttentionShape& s, int threads);
}  // namespace ops

}  // namespace dstrain
