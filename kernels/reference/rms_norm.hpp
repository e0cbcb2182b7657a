// SPDX-License-Identifier: Apache-2.0
/// RMS normalisation as plain loops: the definition that the backends are tested against.
#pragma once

#include <cmath>

#include "kernels/ops/rms_norm.hpp"

namespace dstrain::reference {

/// s = x + r where r is not null (s may be x or r), else x; y[t,d] = s[t,d] * rstd[t] * w[d] (with plus_one: 1 + w[d])
/// with rstd[t] = 1 / sqrt(mean_d(s[t,d]^2) + eps). Zhang and Sennrich, arXiv:1910.07467. Sums in Real. Local.
template <typename Real>
void rms_norm_forward(Real* y_TD, Real* s_TD, Real* rstd_T, const Real* x_TD, const Real* r_TD, const Real* w_D,
                      Real eps, RmsNormShape s) {
  const Real one = s.plus_one ? Real(1) : Real(0);
  for (std::int64_t t = 0; t < s.T; ++t) {
    const std::int64_t row = t * s.D;
    if (r_TD != nullptr) {
      for (std::int64_t d = 0; d < s.D; ++d) s_TD[row + d] = x_TD[row + d] + r_TD[row + d];
    }
    const Real* in_D = (r_TD != nullptr ? s_TD : x_TD) + row;
    Real squares = 0;
    for (std::int64_t d = 0; d < s.D; ++d) squares += in_D[d] * in_D[d];
    rstd_T[t] = Real(1) / std::sqrt(squares / static_cast<Real>(s.D) + eps);
    for (std::int64_t d = 0; d < s.D; ++d) y_TD[row + d] = in_D[d] * rstd_T[t] * (w_D[d] + one);
  }
}

/// dx[t,d] (+)= rstd[t] * (g[t,d] - x[t,d] * rstd[t]^2 * mean_d(g[t,d] * x[t,d])),  g = dy * w
/// dw[d]   (+)= sum_t dy[t,d] * x[t,d] * rstd[t]; dw may be null. dx may be dy where it is not added to. Local.
template <typename Real>
void rms_norm_backward(Real* dx_TD, Real* dw_D, const Real* dy_TD, const Real* x_TD, const Real* w_D,
                       const Real* rstd_T, RmsNormShape s, bool add_dx, bool add_dw) {
  const Real one = s.plus_one ? Real(1) : Real(0);
  for (std::int64_t d = 0; dw_D != nullptr && d < s.D; ++d) {
    if (!add_dw) dw_D[d] = 0;
    for (std::int64_t t = 0; t < s.T; ++t) dw_D[d] += dy_TD[t * s.D + d] * x_TD[t * s.D + d] * rstd_T[t];
  }
  for (std::int64_t t = 0; t < s.T; ++t) {
    const std::int64_t row = t * s.D;
    Real mean = 0;
    for (std::int64_t d = 0; d < s.D; ++d)
      mean += dy_TD[row + d] * (w_D[d] + one) * x_TD[row + d] / static_cast<Real>(s.D);
    for (std::int64_t d = 0; d < s.D; ++d) {
      const Real g = dy_TD[row + d] * (w_D[d] + one);
      const Real dx = rstd_T[t] * (g - x_TD[row + d] * rstd_T[t] * rstd_T[t] * mean);
      dx_TD[row + d] = add_dx ? dx_TD[row + d] + dx : dx;
    }
  }
}

}  // namespace dstrain::reference
