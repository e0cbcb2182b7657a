// SPDX-License-Identifier: Apache-2.0
/// Normalisation of heads, by way of the one of rows: the definition that the backends are tested against.
#pragma once

#include <algorithm>

#include "kernels/ops/head_norm.hpp"
#include "kernels/reference/rms_norm.hpp"

namespace dstrain::reference {

template <typename Real>
void head_norm_forward(Real* x, Real* kept, Real* rstd, const Real* w_H, Real eps, HeadNormShape s) {
  for (std::int64_t t = 0; t < s.T; ++t) {
    for (std::int64_t n = 0; n < s.heads; ++n) {
      Real* head = x + t * s.stride + n * s.head_dim;
      Real* before = kept + t * s.kept_stride + n * s.head_dim;
      std::copy_n(head, s.head_dim, before);
      rms_norm_forward<Real>(head, nullptr, rstd + t * s.rstd_stride + n, before, nullptr, w_H, eps,
                             {1, s.head_dim, s.plus_one});
    }
  }
}

/// dx holds dy on entry.
template <typename Real>
void head_norm_backward(Real* dx, Real* dw_H, const Real* kept, const Real* rstd, const Real* w_H, HeadNormShape s,
                        bool add_dw) {
  if (dw_H != nullptr && !add_dw) std::fill_n(dw_H, s.head_dim, Real(0));
  for (std::int64_t t = 0; t < s.T; ++t) {
    for (std::int64_t n = 0; n < s.heads; ++n) {
      Real* head = dx + t * s.stride + n * s.head_dim;
      rms_norm_backward(head, dw_H, head, kept + t * s.kept_stride + n * s.head_dim, w_H, rstd + t * s.rstd_stride + n,
                        {1, s.head_dim, s.plus_one}, false, true);
    }
  }
}

}  // namespace dstrain::reference
