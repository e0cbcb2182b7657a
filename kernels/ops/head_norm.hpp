// SPDX-License-Identifier: Apache-2.0
/// Root-mean-square normalisation of each head of q or k by itself (Qwen3's q_norm and k_norm).
#pragma once

#include "kernels/ops/common.hpp"

namespace dstrain {

/// x is [T, stride]: the first heads * head_dim columns of each row. `kept` is [T, kept_stride] likewise, rstd
/// [T, rstd_stride] with one number per head.
struct HeadNormShape {
  std::int64_t T = 0;
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t stride = 0;
  std::int64_t kept_stride = 0;
  std::int64_t rstd_stride = 0;
  bool plus_one = false;  ///< as in RmsNormShape
};

namespace ops {
/// x[t,n,:] = rms_norm(x[t,n,:]) * w in place. What stood there before goes to `kept` (null: it is not needed).
///
/// Local. The same w [head_dim] for every head; rounding as rms_norm_forward.
void head_norm_forward(const Exec& exec, Data x, Data kept, float* rstd, ConstData w_H, float eps, HeadNormShape s);

/// dx[t,n,:] in place of dy[t,n,:] (both [T, stride]); dw (+)= over tokens and heads, null where frozen. Bits do not
/// depend on threads.
void head_norm_backward(const Exec& exec, Data dx, float* dw_H, ConstData kept, const float* rstd, ConstData w_H,
                        HeadNormShape s, bool add_dw);
std::int64_t head_norm_workspace_bytes(HeadNormShape s, DeviceKind device = DeviceKind::cpu);
}  // namespace ops

}  // namespace dstrain
