// SPDX-License-Identifier: Apache-2.0
/// Matrix product by its definition.
#pragma once

#include <cstdint>

#include "kernels/ops/matmul.hpp"

namespace dstrain::reference {

/// c[m,n] (+)= sum_k op(a)[m,k] * op(b)[k,n], k ascending, in Real. Local. Shapes and strides as ops::matmul.
template <typename Real>
void matmul(Real* c, const Real* a, const Real* b, const MatmulShape& s, bool accumulate) {
  const std::int64_t lda = s.lda != 0 ? s.lda : (s.transpose_a ? s.M : s.K);
  const std::int64_t ldb = s.ldb != 0 ? s.ldb : (s.transpose_b ? s.K : s.N);
  const std::int64_t ldc = s.ldc != 0 ? s.ldc : s.N;
  for (std::int64_t m = 0; m < s.M; ++m) {
    for (std::int64_t n = 0; n < s.N; ++n) {
      Real sum = 0;
      for (std::int64_t k = 0; k < s.K; ++k) {
        sum += (s.transpose_a ? a[k * lda + m] : a[m * lda + k]) * (s.transpose_b ? b[n * ldb + k] : b[k * ldb + n]);
      }
      c[m * ldc + n] = accumulate ? c[m * ldc + n] + sum : sum;
    }
  }
}

}  // namespace dstrain::reference
