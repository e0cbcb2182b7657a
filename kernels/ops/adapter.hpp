// SPDX-License-Identifier: Apache-2.0
/// What low-rank adapters and noise need beside matrix products. T rows, N columns, row strides ld in elements.
#pragma once

#include "core/rng.hpp"
#include "kernels/ops/common.hpp"

namespace dstrain {

/// Which elements a dropout keeps. Element (t, n) of a [T, N] input is element (first_row + t) * N + n of `rng`, so
/// that a mask depends on its key alone and can be made again on the way back.
struct DropoutMask {
  Rng rng;
  float rate = 0.0F;  ///< share that is dropped, below 1; what stays is divided by 1 - rate
  std::int64_t first_row = 0;
};

namespace ops {

/// x[t,n] *= factor[n]. Local.
void scale_columns(const Exec& exec, Data x, const float* factor_N, std::int64_t T, std::int64_t N, std::int64_t ldx);

/// x[t,n] *= factor, one for all. Local.
void scale_block(const Exec& exec, Data x, float factor, std::int64_t T, std::int64_t N, std::int64_t ldx);

/// y[t,n] += d[t,n], both of one dtype. Local.
void add_columns(const Exec& exec, Data y, ConstData d, std::int64_t T, std::int64_t N, std::int64_t ldy,
                 std::int64_t ldd);

/// out[n] (+)= factor[n] * sum_t a[t,n] * b[t,n], sums in f32 with t ascending (the same bits for any threads). Local.
void column_dots(const Exec& exec, float* out_N, ConstData a, ConstData b, const float* factor_N, std::int64_t T,
                 std::int64_t N, std::int64_t lda, std::int64_t ldb, bool accumulate);

/// y[t,n] = mask(t,n) * x[t,n] / (1 - rate), or += with `accumulate`; both [T,N] without gaps. Local.
/// Srivastava et al., "Dropout", JMLR 15 (2014), scaled in training as torch does.
void dropout(const Exec& exec, Data y_TN, ConstData x_TN, std::int64_t T, std::int64_t N, const DropoutMask& mask,
             bool accumulate);

/// norm[o] = || W[o,:] + scale * (B A)[o,:] ||_2 with W [out,in], A [rank,in], B [out,rank] of one dtype; the row is
/// made in f32, its squares are added in f64. Local. Liu et al., "DoRA", arXiv:2402.09353, eq. 5.
/// @param transposed  W is stored [in,out]
void updated_row_norms(const Exec& exec, float* norm, ConstData w, ConstData a, ConstData b, float scale,
                       std::int64_t out, std::int64_t in, std::int64_t rank, bool transposed = false);

/// y[t,r] = a[r, ids[t]] with A [R,V]: the product of A with one-hot rows. One dtype. ids are checked by the caller.
/// Local.
void gather_columns(const Exec& exec, Data y_TR, ConstData a_RV, const std::int32_t* ids_T, std::int64_t T,
                    std::int64_t R, std::int64_t V);
/// da[r, ids[t]] += dy[t,r] in f32, t ascending for each element (same bits for any threads). With `accumulate` false
/// da is zeroed first. Local.
void gather_columns_backward(const Exec& exec, float* da_RV, ConstData dy_TR, const std::int32_t* ids_T, std::int64_t T,
                             std::int64_t R, std::int64_t V, bool accumulate);

/// DoRA's factors of columns: inverse = 1 / norm, factor = magnitude / norm, shifted = factor - 1. Local.
/// @param[in,out] inverse  the norm before
/// @param[in,out] factor   the magnitude before
void magnitude_factors(const Exec& exec, float* inverse, float* factor, float* shifted, std::int64_t count);

/// x[i] += u with u uniform in [-magnitude, magnitude): element i takes element i of `rng`. Local.
/// Jain et al., "NEFTune", arXiv:2310.05914.
void add_uniform_noise(const Exec& exec, Data x, std::int64_t count, float magnitude, const Rng& rng);

}  // namespace ops

}  // namespace dstrain
