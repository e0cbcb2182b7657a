// SPDX-License-Identifier: Apache-2.0
/// Root-mean-square normalisation, with the residual sum in front of it.
#pragma once

#include "kernels/ops/common.hpp"

namespace dstrain {

/// T = packed tokens of the micro-batch, D = width of a row.
struct RmsNormShape {
  std::int64_t T;
  std::int64_t D;
  bool plus_one = false;  ///< 1 + w in the place of w, multiplied before anything is rounded: Gemma
};

namespace ops {
/// s = x + r (where r is given; s in x's dtype, may be x or r), then y[t,d] = s[t,d] * rstd[t] * w[d] with
/// rstd[t] = 1 / sqrt(mean_d(s[t,d]^2) + eps).
///
/// Local. Zhang and Sennrich, "Root Mean Square Layer Normalization", arXiv:1910.07467; eps inside the root, and the
/// normalised value rounded to the storage dtype before it is multiplied by w, as transformers' LlamaRMSNorm does.
/// @param[out] y_TD    @param[out] s_TD   only where r_TD.data is not null
/// @param[out] rstd_T  f32, kept for the backward pass
void rms_norm_forward(const Exec& exec, Data y_TD, Data s_TD, float* rstd_T, ConstData x_TD, ConstData r_TD,
                      ConstData w_D, float eps, RmsNormShape s);

/// dx[t,d] (+)= rstd[t] * (g[t,d] - x[t,d] * rstd[t]^2 * mean_d(g[t,d] * x[t,d])),  g = dy * w;   `add_dx`: adds to dx
/// dw[d]  (+)= sum_t dy[t,d] * x[t,d] * rstd[t]   in f32, in an order that does not depend on threads; `add_dw`: adds
/// to dw; dw_D may be null (frozen). dx_TD may be dy_TD when add_dx is false.
void rms_norm_backward(const Exec& exec, Data dx_TD, float* dw_D, ConstData dy_TD, ConstData x_TD, ConstData w_D,
                       const float* rstd_T, RmsNormShape s, bool add_dx, bool add_dw);
std::int64_t rms_norm_workspace_bytes(RmsNormShape s, DeviceKind device = DeviceKind::cpu);
}  // namespace ops

}  // namespace dstrain
