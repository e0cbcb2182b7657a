// SPDX-License-Identifier: Apache-2.0
/// Embedding, casts, sums.
#pragma once

#include "kernels/ops/common.hpp"

namespace dstrain::ops {

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
/// dst[t, :N] = src[t, :N] for T rows that lie ldd and lds elements apart. One dtype.
void copy_rows(const Exec& exec, Data dst, ConstData src, std::int64_t T, std::int64_t N, std::int64_t ldd,
               std::int64_t lds);
void fill_zero(const Exec& exec, Data dst, std::int64_t count);
/// x *= factor
void scale(const Exec& exec, Data x, float factor, std::int64_t count);
/// x = cap * tanh(x / cap), f32. Gemma 2, arXiv:2408.00118.
void softcap(const Exec& exec, float* x, float cap, std::int64_t count);

}  // namespace dstrain::ops
