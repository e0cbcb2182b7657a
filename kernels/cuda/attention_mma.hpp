// SPDX-License-Identifier: Apache-2.0
/// Attention on tensor cores with scores and sums in registers: bf16 and f16, heads of up to 128. Private to
/// kernels/cuda.
#pragma once

#include "kernels/cuda/attention_parts.cuh"

namespace dstrain::DSTRAIN_KERNELS {

/// Segments with queries, on the device and counted; the longest of them in queries and keys.
struct Segments {
  std::int64_t count = 0;
  std::int64_t most_queries = 0;
  std::int64_t most_keys = 0;
};

template <typename S>
struct AttentionInputs {
  const S* q;
  const S* k;
  const S* v;
};
template <typename S>
struct AttentionGradients {
  S* dq;
  S* dk;
  S* dv;
};
/// What the backward pass gets of the forward pass and from above.
template <typename S>
struct AttentionOutputs {
  const S* dout;
  const float* lse_NT;
  const float* delta_NT;
};

inline bool mma_takes(const AttentionShape& s) { return s.head_dim <= 128; }

/// @param s  rows and tiles are set here
template <typename S>
void mma_forward(const Exec& exec, S* out, float* lse_NT, const AttentionInputs<S>& in, AttentionSizes s,
                 const Segments& segments, std::int64_t heads);
template <typename S>
void mma_backward(const Exec& exec, const AttentionGradients<S>& gradients, const AttentionOutputs<S>& outputs,
                  const AttentionInputs<S>& in, AttentionSizes s, const Segments& segments, std::int64_t heads);

}  // namespace dstrain::DSTRAIN_KERNELS
