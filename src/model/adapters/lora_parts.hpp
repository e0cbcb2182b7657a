// SPDX-License-Identifier: Apache-2.0
/// Shapes of the products of LoRA, and what its passes have in common. T rows, R the ranks of all adapters of a layer.
#pragma once

#include <cstdint>

#include "kernels/ops/adapter.hpp"
#include "kernels/ops/matmul.hpp"
#include "model/adapters/lora.hpp"

namespace dstrain {

/// h [T,r] = x A^T, into columns of [T,R].
inline MatmulShape down_shape(std::int64_t T, std::int64_t rank, std::int64_t in, std::int64_t R) {
  return {.M = T, .N = rank, .K = in, .transpose_b = true, .ldc = R};
}
/// [T,out] = h B^T
inline MatmulShape up_shape(std::int64_t T, std::int64_t rank, std::int64_t out, std::int64_t R, std::int64_t ldc) {
  return {.M = T, .N = out, .K = rank, .transpose_b = true, .lda = R, .ldc = ldc};
}
/// dh [T,r] = dy B
inline MatmulShape row_gradient_shape(std::int64_t T, std::int64_t rank, std::int64_t out, std::int64_t R,
                                      std::int64_t ldy) {
  return {.M = T, .N = rank, .K = out, .lda = ldy, .ldc = R};
}
/// dB [out,r] = dy^T h
inline MatmulShape b_gradient_shape(std::int64_t T, std::int64_t rank, std::int64_t out, std::int64_t R,
                                    std::int64_t ldy) {
  return {.M = out, .N = rank, .K = T, .transpose_a = true, .lda = ldy, .ldb = R};
}
/// dA [r,in] = dh^T x
inline MatmulShape a_gradient_shape(std::int64_t T, std::int64_t rank, std::int64_t in, std::int64_t R) {
  return {.M = rank, .N = in, .K = T, .transpose_a = true, .lda = R};
}
/// dx [T,in] = dh A
inline MatmulShape through_shape(std::int64_t T, std::int64_t rank, std::int64_t in, std::int64_t R) {
  return {.M = T, .N = in, .K = rank, .lda = R};
}
/// [T,out] = x W^T of one matrix of a fused layer
inline MatmulShape base_shape(std::int64_t T, std::int64_t in, const LoraSite& s) {
  return {.M = T, .N = s.out, .K = in, .transpose_b = !s.transposed};
}
/// dx [T,in] = dy W
inline MatmulShape base_input_shape(std::int64_t T, std::int64_t in, const LoraSite& s, std::int64_t ldy) {
  return {.M = T, .N = in, .K = s.out, .transpose_b = s.transposed, .lda = ldy};
}

inline Data as_dtype(Data buffer, DType dtype) { return {buffer.data, dtype}; }

/// A function of (seed, slot, adapter, row, column): the same on any rank, and again on the way back.
inline DropoutMask mask_of(const LoraSite& s, LoraRows rows, const AdapterPass& pass) {
  return {Rng(pass.seed, RngSite::dropout, s.number, pass.sample), s.dropout, rows.first_row};
}

}  // namespace dstrain
