// SPDX-License-Identifier: Apache-2.0
/// Rotary position embedding, half layout ("rotate_half").
#pragma once

#include "kernels/ops/common.hpp"

namespace dstrain {

/// x is [T, stride]; the first `heads` * head_dim columns of each row are rotated.
struct RopeShape {
  std::int64_t T;
  std::int64_t heads;
  std::int64_t head_dim;  ///< even
  std::int64_t stride;    ///< elements from one token to the next
};

namespace ops {
/// Rotates in place: (x_i, x_{i + d/2}) -> (x_i c - x_{i+d/2} s, x_{i+d/2} c + x_i s) with c, s = tables[position[t],
/// i]. `inverse` turns back (sin negated): the backward pass. Local. Su et al., arXiv:2104.09864; layout of
/// transformers.
/// @param cos_PH, sin_PH  f32 [positions, d/2]; already scaled by yarn's attention factor
void rope(const Exec& exec, Data x, const float* cos_PH, const float* sin_PH, const std::int32_t* position_T,
          RopeShape s, bool inverse);

/// cos/sin tables for positions 0 .. count-1 from `inv_freq` [d/2]: angles in f32 as transformers computes them.
void rope_table(const Exec& exec, float* cos_PH, float* sin_PH, const float* inv_freq_H, std::int64_t count,
                std::int64_t half_dim, float attention_factor);
}  // namespace ops

}  // namespace dstrain
