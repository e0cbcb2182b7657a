// SPDX-License-Identifier: Apache-2.0
/// Rotary position embedding in both layouts, of whole heads or their first part.
#pragma once

#include "kernels/ops/common.hpp"

namespace dstrain {

/// x is [T, stride]. In each of `groups` groups of columns the first `heads` * head_dim columns are heads to rotate.
struct RopeShape {
  std::int64_t T;
  std::int64_t heads;
  std::int64_t head_dim;
  std::int64_t stride;          ///< elements from one token to the next
  std::int64_t rotary_dim = 0;  ///< the first dims of a head that turn, even; 0: all of it
  bool interleaved = false;     ///< pairs (2i, 2i+1) instead of (i, i + rotary_dim/2)
  std::int64_t groups = 1;
  std::int64_t group_stride = 0;  ///< elements from one group to the next

  [[nodiscard]] constexpr std::int64_t rotated() const noexcept { return rotary_dim > 0 ? rotary_dim : head_dim; }
};

namespace ops {
/// Rotates in place: (a, b) -> (a c - b s, b c + a s) for each pair i < r/2 of a head's first r = rotary_dim elements,
/// with c, s = tables[position[t], i]. The pair is (x_i, x_{i + r/2}), as in transformers' Llama, or (x_2i, x_{2i+1}),
/// as in the paper, GLM and ChatGLM. `inverse` turns back (sin negated): the backward pass. Local. Su et al.,
/// arXiv:2104.09864.
/// @param cos_PH, sin_PH  f32 [positions, r/2]; already scaled by yarn's attention factor
void rope(const Exec& exec, Data x, const float* cos_PH, const float* sin_PH, const std::int32_t* position_T,
          RopeShape s, bool inverse);

/// cos/sin tables for positions 0 .. count-1 from `inv_freq` [half_dim]: angles in f32 as transformers computes them.
void rope_table(const Exec& exec, float* cos_PH, float* sin_PH, const float* inv_freq_H, std::int64_t count,
                std::int64_t half_dim, float attention_factor);
}  // namespace ops

}  // namespace dstrain
