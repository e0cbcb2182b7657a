// SPDX-License-Identifier: Apache-2.0
/// Layer normalisation as plain loops: the definition that the backends are tested against.
#pragma once

#include <cmath>

#include "kernels/ops/layer_norm.hpp"

namespace dstrain::reference {

/// s = x + r where r is not null, else x; y = (s - mean) * rstd * w + b, b may be null. Ba, Kiros and Hinton,
/// arXiv:1607.06450. Sums in Real. Local.
template <typename Real>
void layer_norm_forward(Real* y_TD, Real* s_TD, Real* mean_T, Real* rstd_T, const Real* x_TD, const Real* r_TD,
                        const Real* w_D, const Real* b_D, Real eps, LayerNormShape s) {
  const Real width = static_cast<Real>(s.D);
  for (std::int64_t t = 0; t < s.T; ++t) {
    const std::int64_t row = t * s.D;
    for (std::int64_t d = 0; r_TD != nullptr && d < s.D; ++d) s_TD[row + d] = x_TD[row + d] + r_TD[row + d];
    const Real* in_D = (r_TD != nullptr ? s_TD : x_TD) + row;
    Real mean = 0, squares = 0;
    for (std::int64_t d = 0; d < s.D; ++d) mean += in_D[d] / width;
    for (std::int64_t d = 0; d < s.D; ++d) squares += (in_D[d] - mean) * (in_D[d] - mean);
    mean_T[t] = mean;
    rstd_T[t] = Real(1) / std::sqrt(squares / width + eps);
    for (std::int64_t d = 0; d < s.D; ++d)
      y_TD[row + d] = (in_D[d] - mean) * rstd_T[t] * w_D[d] + (b_D != nullptr ? b_D[d] : Real(0));
  }
}

/// With n = (x - mean) * rstd, g = dy * w: dx (+)= rstd * (g - mean(g) - n mean(g n)), dw (+)= sum_t dy n,
/// db (+)= sum_t dy; dw and db may be null. Local.
template <typename Real>
void layer_norm_backward(Real* dx_TD, Real* dw_D, Real* db_D, const Real* dy_TD, const Real* x_TD, const Real* w_D,
                         const Real* mean_T, const Real* rstd_T, LayerNormShape s, bool add_dx, bool add_dw) {
  const auto n = [&](std::int64_t t, std::int64_t d) { return (x_TD[t * s.D + d] - mean_T[t]) * rstd_T[t]; };
  for (std::int64_t d = 0; d < s.D; ++d) {
    if (dw_D != nullptr && !add_dw) dw_D[d] = 0;
    if (db_D != nullptr && !add_dw) db_D[d] = 0;
    for (std::int64_t t = 0; t < s.T; ++t) {
      if (dw_D != nullptr) dw_D[d] += dy_TD[t * s.D + d] * n(t, d);
      if (db_D != nullptr) db_D[d] += dy_TD[t * s.D + d];
    }
  }
  for (std::int64_t t = 0; t < s.T; ++t) {
    Real mean_g = 0, mean_gn = 0;
    for (std::int64_t d = 0; d < s.D; ++d) {
      const Real g = dy_TD[t * s.D + d] * w_D[d];
      mean_g += g / static_cast<Real>(s.D);
      mean_gn += g * n(t, d) / static_cast<Real>(s.D);
    }
    for (std::int64_t d = 0; d < s.D; ++d) {
      const Real dx = rstd_T[t] * (dy_TD[t * s.D + d] * w_D[d] - mean_g - n(t, d) * mean_gn);
      dx_TD[t * s.D + d] = add_dx ? dx_TD[t * s.D + d] + dx : dx;
    }
  }
}

}  // namespace dstrain::reference
