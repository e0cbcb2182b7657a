// SPDX-License-Identifier: Apache-2.0
/// Rotary position embedding on the CPU: tokens over threads; tables with the C library's sine and cosine.
#include <cmath>

#include "core/parallel.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/simd/functions.hpp"

namespace dstrain::cpu {

namespace {
constexpr IsaTables<RopeFunctions> tables = DSTRAIN_ISA_TABLES(rope);
}

void rope(const Exec& /*exec*/, Data x, const float* cos_PH, const float* sin_PH, const std::int32_t* position_T,
          RopeShape s, bool inverse) {
  const std::int64_t rotary_dim = s.rotated();
  if (rotary_dim % 2 != 0 || rotary_dim > s.head_dim) {
    throw ShapeError(fmt::format("rope turns {} of {} dims of a head", rotary_dim, s.head_dim));
  }
  const int storage = storage_index(x.dtype, "rope");
  const auto token = s.interleaved ? tables.get().token_interleaved[storage] : tables.get().token[storage];
  const std::int64_t half = rotary_dim / 2;
  parallel_for(s.T, rows_grain(s.groups * s.heads * s.head_dim), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int64_t row = position_T[t] * half;
      for (std::int64_t g = 0; g < s.groups; ++g) {
        token(x.at(t * s.stride + g * s.group_stride).data, cos_PH + row, sin_PH + row, s.heads, s.head_dim, rotary_dim,
              inverse);
      }
    }
  });
}

void rope_table(const Exec& /*exec*/, float* cos_PH, float* sin_PH, const float* inv_freq_H, std::int64_t count,
                std::int64_t half_dim, float attention_factor) {
  parallel_for(count, rows_grain(half_dim * 16), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) {
      for (std::int64_t i = 0; i < half_dim; ++i) {
        // The angle is rounded to f32 as transformers does; its sine and cosine then to the nearest float.
        const double angle = static_cast<float>(p) * inv_freq_H[i];
        cos_PH[p * half_dim + i] = static_cast<float>(std::cos(angle)) * attention_factor;
        sin_PH[p * half_dim + i] = static_cast<float>(std::sin(angle)) * attention_factor;
      }
    }
  });
}

}  // namespace dstrain::cpu
