// SPDX-License-Identifier: Apache-2.0
/// Rotary position embedding: one thread per pair; tables with the sine and cosine of doubles.
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/copy.hpp"
#include "kernels/cuda/simt.hpp"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

template <typename S>
void rope_as(const Exec& exec, Data x_in, const float* cos_PH, const float* sin_PH, const std::int32_t* position_T,
             RopeShape s, bool inverse) {
  S* x = x_in.as<S>();
  const std::int64_t half = s.rotated() / 2;
  const std::int64_t heads = s.groups * s.heads;
  for_each_element(exec, s.T * heads * half, [=] __device__(std::int64_t index) {
    const std::int64_t i = index % half;
    const std::int64_t h = index / half % heads;
    const std::int64_t t = index / half / heads;
    S* head = x + t * s.stride + h / s.heads * s.group_stride + h % s.heads * s.head_dim;
    const std::int64_t row = position_T[t] * half + i;
    const float c = cos_PH[row];
    const float sin = inverse ? -sin_PH[row] : sin_PH[row];
    S& low = s.interleaved ? head[2 * i] : head[i];
    S& high = s.interleaved ? head[2 * i + 1] : head[i + half];
    const float a = widen(low);
    const float b = widen(high);
    narrow(low, fmaf(a, c, -(b * sin)));
    narrow(high, fmaf(b, c, a * sin));
  });
}

}  // namespace

void rope(const Exec& exec, Data x, const float* cos_PH, const float* sin_PH, const std::int32_t* position_T,
          RopeShape s, bool inverse) {
  if (s.rotated() % 2 != 0 || s.rotated() > s.head_dim)
    fail_shape(text_of("rope turns {} of {} dims of a head", s.rotated(), s.head_dim));
  if (s.rotated() == 0) return;
  DSTRAIN_BY_STORAGE(storage_index(x.dtype, "rope"), S,
                     rope_as<S>(exec, x, cos_PH, sin_PH, position_T, s, inverse));
}

void rope_table(const Exec& exec, float* cos_PH, float* sin_PH, const float* inv_freq_H, std::int64_t count,
                std::int64_t half_dim, float attention_factor) {
  if (count <= 0 || half_dim <= 0) return;
  // The frequencies are host memory. They travel in the last row of the sines: read there by all, and by the last row
  // in a launch of its own, each thread its own one.
  float* frequency = sin_PH + (count - 1) * half_dim;
  copy_from_host(exec, frequency, inv_freq_H, half_dim * static_cast<std::int64_t>(sizeof(float)));
  for (const bool last : {false, true}) {
    const std::int64_t first = last ? (count - 1) * half_dim : 0;
    const std::int64_t numbers = last ? half_dim : (count - 1) * half_dim;
    for_each_element(exec, numbers, [=] __device__(std::int64_t i) {
      const std::int64_t at = first + i;
      // The angle is rounded to f32 as transformers does; its sine and cosine then to the nearest float.
      const double angle = static_cast<double>(static_cast<float>(at / half_dim) * frequency[at % half_dim]);
      cos_PH[at] = static_cast<float>(::cos(angle)) * attention_factor;
      sin_PH[at] = static_cast<float>(::sin(angle)) * attention_factor;
    });
  }
}

}  // namespace dstrain::DSTRAIN_KERNELS
