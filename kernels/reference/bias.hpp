// SPDX-License-Identifier: Apache-2.0
/// Biases as plain loops: the definition that the backends are tested against.
#pragma once

#include "kernels/ops/matmul.hpp"

namespace dstrain::reference {

/// y[t,n] += bias[n]. Local.
template <typename Real>
void add_bias(Real* y_TN, const Real* bias_N, std::int64_t T, std::int64_t N, std::int64_t ldy) {
  for (std::int64_t t = 0; t < T; ++t) {
    for (std::int64_t n = 0; n < N; ++n) y_TN[t * ldy + n] += bias_N[n];
  }
}

/// db[n] (+)= sum_t dy[t,n]. Local.
template <typename Real>
void bias_backward(Real* db_N, const Real* dy_TN, std::int64_t T, std::int64_t N, std::int64_t ldy, bool accumulate) {
  for (std::int64_t n = 0; n < N; ++n) {
    if (!accumulate) db_N[n] = 0;
    for (std::int64_t t = 0; t < T; ++t) db_N[n] += dy_TN[t * ldy + n];
  }
}

}  // namespace dstrain::reference
