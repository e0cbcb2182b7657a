// SPDX-License-Identifier: Apache-2.0
/// Logits of a head whose rows have length one, and the gradient of W through the division: by their definition.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace dstrain::reference {

/// logits[t,v] = sum_d x[t,d] w[v,d] / max(|w_v|, 1e-12). Local.
template <typename Real>
void normalised_logits(Real* logits_TV, const Real* x_TD, const Real* w_VD, std::int64_t T, std::int64_t V,
                       std::int64_t D) {
  for (std::int64_t v = 0; v < V; ++v) {
    Real squares = 0;
    for (std::int64_t d = 0; d < D; ++d) squares += w_VD[v * D + d] * w_VD[v * D + d];
    const Real norm = std::max(std::sqrt(squares), Real(1e-12));
    for (std::int64_t t = 0; t < T; ++t) {
      Real sum = 0;
      for (std::int64_t d = 0; d < D; ++d) sum += x_TD[t * D + d] * (w_VD[v * D + d] / norm);
      logits_TV[t * V + v] = sum;
    }
  }
}

/// With u = w / |w|: du[v] = sum_t dlogits[t,v] x[t], dw = (du - u (u . du)) / |w|, dx[t] = sum_v dlogits[t,v] u[v].
template <typename Real>
void normalised_logits_backward(Real* dx_TD, Real* dw_VD, const Real* dlogits_TV, const Real* x_TD, const Real* w_VD,
                                std::int64_t T, std::int64_t V, std::int64_t D) {
  std::fill_n(dx_TD, T * D, Real(0));
  for (std::int64_t v = 0; v < V; ++v) {
    Real squares = 0, along = 0;
    for (std::int64_t d = 0; d < D; ++d) squares += w_VD[v * D + d] * w_VD[v * D + d];
    const Real norm = std::sqrt(squares);
    std::vector<Real> du(static_cast<std::size_t>(D), Real(0));
    for (std::int64_t d = 0; d < D; ++d) {
      const auto i = static_cast<std::size_t>(d);
      for (std::int64_t t = 0; t < T; ++t) {
        du[i] += dlogits_TV[t * V + v] * x_TD[t * D + d];
        dx_TD[t * D + d] += dlogits_TV[t * V + v] * w_VD[v * D + d] / norm;
      }
      along += du[i] * w_VD[v * D + d] / norm;
    }
    for (std::int64_t d = 0; d < D; ++d)
      dw_VD[v * D + d] = (du[static_cast<std::size_t>(d)] - w_VD[v * D + d] / norm * along) / norm;
  }
}

}  // namespace dstrain::reference
