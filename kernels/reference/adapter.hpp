// SPDX-License-Identifier: Apache-2.0
/// Adapter operations as plain loops: the definition that the backends are tested against.
#pragma once

#include <cmath>

#include "kernels/ops/adapter.hpp"

namespace dstrain::reference {

/// x[t,n] *= factor[n]. Local.
template <typename Real>
void scale_columns(Real* x, const float* factor_N, std::int64_t T, std::int64_t N, std::int64_t ldx) {
  for (std::int64_t t = 0; t < T; ++t) {
    for (std::int64_t n = 0; n < N; ++n) x[t * ldx + n] *= static_cast<Real>(factor_N[n]);
  }
}

/// y[t,n] += d[t,n]. Local.
template <typename Real>
void add_columns(Real* y, const Real* d, std::int64_t T, std::int64_t N, std::int64_t ldy, std::int64_t ldd) {
  for (std::int64_t t = 0; t < T; ++t) {
    for (std::int64_t n = 0; n < N; ++n) y[t * ldy + n] += d[t * ldd + n];
  }
}

/// out[n] (+)= factor[n] * sum_t a[t,n] * b[t,n]. Local.
template <typename Real>
void column_dots(Real* out_N, const Real* a, const Real* b, const float* factor_N, std::int64_t T, std::int64_t N,
                 std::int64_t lda, std::int64_t ldb, bool accumulate) {
  for (std::int64_t n = 0; n < N; ++n) {
    Real sum = 0;
    for (std::int64_t t = 0; t < T; ++t) sum += a[t * lda + n] * b[t * ldb + n];
    out_N[n] = static_cast<Real>(factor_N[n]) * sum + (accumulate ? out_N[n] : Real(0));
  }
}

/// y (+)= mask * x / (1 - rate). Local.
template <typename Real>
void dropout(Real* y_TN, const Real* x_TN, std::int64_t T, std::int64_t N, const DropoutMask& mask, bool accumulate) {
  for (std::int64_t i = 0; i < T * N; ++i) {
    const bool kept = mask.rng.uniform(static_cast<std::uint64_t>(mask.first_row * N + i)) >= mask.rate;
    const Real value = kept ? x_TN[i] / (Real(1) - static_cast<Real>(mask.rate)) : Real(0);
    y_TN[i] = value + (accumulate ? y_TN[i] : Real(0));
  }
}

/// norm[o] = || W[o,:] + scale * (B A)[o,:] ||_2, W stored [out,in] or, with `transposed`, [in,out]. Local.
template <typename Real>
void updated_row_norms(Real* norm, const Real* w, const Real* a, const Real* b, float scale, std::int64_t out,
                       std::int64_t in, std::int64_t rank, bool transposed = false) {
  for (std::int64_t o = 0; o < out; ++o) {
    Real squares = 0;
    for (std::int64_t i = 0; i < in; ++i) {
      Real update = 0;
      for (std::int64_t r = 0; r < rank; ++r) update += b[o * rank + r] * a[r * in + i];
      const Real value = w[transposed ? i * out + o : o * in + i] + static_cast<Real>(scale) * update;
      squares += value * value;
    }
    norm[o] = std::sqrt(squares);
  }
}

/// y[t,r] = a[r, ids[t]]. Local.
template <typename Real>
void gather_columns(Real* y_TR, const Real* a_RV, const std::int32_t* ids_T, std::int64_t T, std::int64_t R,
                    std::int64_t V) {
  for (std::int64_t t = 0; t < T; ++t) {
    for (std::int64_t r = 0; r < R; ++r) y_TR[t * R + r] = a_RV[r * V + ids_T[t]];
  }
}

/// da[r, ids[t]] += dy[t,r]. Local.
template <typename Real>
void gather_columns_backward(Real* da_RV, const Real* dy_TR, const std::int32_t* ids_T, std::int64_t T, std::int64_t R,
                             std::int64_t V, bool accumulate) {
  for (std::int64_t i = 0; i < R * V && !accumulate; ++i) da_RV[i] = 0;
  for (std::int64_t t = 0; t < T; ++t) {
    for (std::int64_t r = 0; r < R; ++r) da_RV[r * V + ids_T[t]] += dy_TR[t * R + r];
  }
}

/// x[i] += uniform in [-magnitude, magnitude). Local.
template <typename Real>
void add_uniform_noise(Real* x, std::int64_t count, float magnitude, const Rng& rng) {
  for (std::int64_t i = 0; i < count; ++i) {
    x[i] +=
        static_cast<Real>(magnitude) * (Real(2) * static_cast<Real>(rng.uniform(static_cast<std::uint64_t>(i))) - 1);
  }
}

}  // namespace dstrain::reference
