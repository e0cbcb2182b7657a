// SPDX-License-Identifier: Apache-2.0
/// A head whose rows are taken with length one (Baichuan2's NormHead): logits = x (W / |W_v|)^T.
///
/// With r_v = 1 / |W_v| the logits are (x W^T) scaled by columns, so that W itself is the operand of both products; the
/// gradient of W is what they give, less its component along each row.
#pragma once

#include "kernels/ops/common.hpp"

namespace dstrain::ops {

/// r[v] = 1 / max(|w[v,:]|, 1e-12), the limit of torch's F.normalize. Local.
void inverse_row_norms(const Exec& exec, float* r_V, ConstData w_VD, std::int64_t V, std::int64_t D);

/// x[t,v] *= factor[v]. Local.
void scale_columns(const Exec& exec, Data x_TV, const float* factor_V, std::int64_t T, std::int64_t V);

/// dw[v,:] -= r[v]^2 (w[v,:] . dw[v,:]) w[v,:]. Local. Doing it twice changes nothing but rounding, so that it may run
/// over a sum of several micro-batches.
void remove_row_component(const Exec& exec, float* dw_VD, ConstData w_VD, const float* r_V, std::int64_t V,
                          std::int64_t D);

}  // namespace dstrain::ops
