// SPDX-License-Identifier: Apache-2.0
/// Rotary position embedding as plain loops: the definition that the backends are tested against.
#pragma once

#include <cmath>

#include "kernels/ops/rope.hpp"

namespace dstrain::reference {

/// (a, b) -> (a c - b s, b c + a s) for the pairs of each head's first `rotated()` elements, c and s from the tables'
/// row position[t]; `inverse` negates s. Pairs as ops::rope. Su et al., arXiv:2104.09864. Local.
template <typename Real>
void rope(Real* x, const Real* cos_PH, const Real* sin_PH, const std::int32_t* position_T, RopeShape s, bool inverse) {
  const std::int64_t half = s.rotated() / 2;
  for (std::int64_t t = 0; t < s.T; ++t) {
    for (std::int64_t h = 0; h < s.groups * s.heads; ++h) {
      Real* head = x + t * s.stride + h / s.heads * s.group_stride + h % s.heads * s.head_dim;
      for (std::int64_t i = 0; i < half; ++i) {
        const Real c = cos_PH[position_T[t] * half + i];
        const Real sin = inverse ? -sin_PH[position_T[t] * half + i] : sin_PH[position_T[t] * half + i];
        Real& a = s.interleaved ? head[2 * i] : head[i];
        Real& b = s.interleaved ? head[2 * i + 1] : head[i + half];
        const Real before = a;
        a = before * c - b * sin;
        b = b * c + before * sin;
      }
    }
  }
}

/// cos and sin of position * inv_freq[i], times `attention_factor`; the angle is rounded to float first, as
/// transformers does.
template <typename Real>
void rope_table(Real* cos_PH, Real* sin_PH, const float* inv_freq_H, std::int64_t count, std::int64_t half_dim,
                Real attention_factor) {
  for (std::int64_t p = 0; p < count; ++p) {
    for (std::int64_t i = 0; i < half_dim; ++i) {
      const Real angle = static_cast<float>(p) * inv_freq_H[i];
      cos_PH[p * half_dim + i] = std::cos(angle) * attention_factor;
      sin_PH[p * half_dim + i] = std::sin(angle) * attention_factor;
    }
  }
}

}  // namespace dstrain::reference
