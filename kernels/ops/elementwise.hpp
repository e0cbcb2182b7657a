// SPDX-License-Identifier: Apache-2.0
/// SwiGLU, embedding, casts, sums.
#pragma once

#include "kernels/ops/common.hpp"

namespace dstrain::ops {

/// h[t,f] = silu(gate[t,f]) * up[t,f]; gate_up is [T, 2F]: gate first. Shazeer, arXiv:2002.05202. Local.
void swiglu_forward(const Exec& exec, Data h_TF, ConstData gate_up, std::int64_t T, std::int64_t F);
/// Gradient of gate_up [T, 2F]; may be written over gate_up itself.
void swiglu_backward(const Exec& exec, Data dgate_up, ConstData dh_TF, ConstData gate_up, std::int64_t T,
                     std::int64_t F);

/// y[t,:] = table[ids[t],:]. Same dtype. ids are checked by the caller.
void embedding_forward(const Exec& exec, Data y_TD, ConstData table_VD, const std::int32_t* ids_T, std::int64_t T,
                       std::int64_t D);
/// dtable[ids[t],:] += dy[t,:] in f32, t ascending for each row (same bits for any threads). With `accumulate` false
/// dtable is zeroed first. V rows.
void embedding_backward(const Exec& exec, float* dtable_VD, ConstData dy_TD, const std::int32_t* ids_T, std::int64_t T,
                        std::int64_t D, std::int64_t V, bool accumulate);

/// dst = src converted (f32 <-> bf16, or a copy).
void convert(const Exec& exec, Data dst, ConstData src, std::int64_t count);
/// dst += src, both of one dtype, or f32 += bf16.
void add(const Exec& exec, Data dst, ConstData src, std::int64_t count);
void fill_zero(const Exec& exec, Data dst, std::int64_t count);
/// x *= factor
void scale(const Exec& exec, Data x, float factor, std::int64_t count);

}  // namespace dstrain::ops
