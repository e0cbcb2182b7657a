// SPDX-License-Identifier: Apache-2.0
/// Layer normalisation, with the residual sum in front of it.
#pragma once

#include "kernels/ops/common.hpp"

namespace dstrain {

/// T = packed tokens of the micro-batch, D = width of a row.
struct LayerNormShape {
  std::int64_t T;
  std::int64_t D;
};

/// What forward keeps of each row for backward, f32 [T] each.
struct LayerNormStatistics {
  float* mean_T;
  float* rstd_T;
};

/// f32 [D] each; null where nothing is wanted (frozen, or a norm without a bias).
struct LayerNormGradients {
  float* dw_D;
  float* db_D;
};

namespace ops {
/// s = x + r (where r is given; s in x's dtype, may be x or r), then y[t,d] = (s[t,d] - mean[t]) * rstd[t] * w[d] +
/// b[d] with rstd[t] = 1 / sqrt(mean_d((s[t,d] - mean[t])^2) + eps).
///
/// Local. Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450; biased variance in a second pass, as torch.
/// @param[out] s_TD  only where r_TD.data is not null
/// @param b_D        may be null
void layer_norm_forward(const Exec& exec, Data y_TD, Data s_TD, LayerNormStatistics kept, ConstData x_TD,
                        ConstData r_TD, ConstData w_D, ConstData b_D, float eps, LayerNormShape s);

/// With n = (x - mean) * rstd and g = dy * w: dx (+)= rstd * (g - mean_d(g) - n * mean_d(g * n)),
/// dw (+)= sum_t dy * n, db (+)= sum_t dy, in f32, in an order that does not depend on threads; `add_dx` and `add_dw`
/// (which holds for db too) as in rms_norm_backward. dx_TD may be dy_TD when add_dx is false.
void layer_norm_backward(const Exec& exec, Data dx_TD, LayerNormGradients gradients, ConstData dy_TD, ConstData x_TD,
                         ConstData w_D, LayerNormStatistics kept, LayerNormShape s, bool add_dx, bool add_dw);
std::int64_t layer_norm_workspace_bytes(LayerNormShape s, DeviceKind device = DeviceKind::cpu);
}  // namespace ops

}  // namespace dstrain
