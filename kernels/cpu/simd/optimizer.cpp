// SPDX-License-Identifier: Apache-2.0
/// AdamW in one pass over its arrays, and sums of squares in f64 with an order that no instruction set changes.
#include "kernels/cpu/simd/functions.hpp"
#include "kernels/cpu/simd/vec.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

/// The order of operations is torch's single-tensor one: lerp, mul, addcmul, sqrt / div / add, addcdiv.
DSTRAIN_FLATTEN void adamw(float* master, float* exp_avg, float* exp_avg_sq, const float* gradient, void* compute_copy,
                           std::int64_t count, const AdamWScalars& scalars) {
  const AdamWScalars a = scalars;
  std::uint16_t* copy = static_cast<std::uint16_t*>(compute_copy);
  for_lanes(count, [&](std::int64_t i, auto part) {
    const VecF g = load(gradient + i, part) * a.gradient_scale;
    VecF m = load(exp_avg + i, part);
    // torch's lerp starts from the nearer end: for beta1 < 0.5 from the gradient.
    m = a.one_less_beta1 < 0.5F ? fma(broadcast(a.one_less_beta1), g - m, m)
                                : fma(broadcast(a.one_less_beta1 - 1.0F), g - m, g);
    const VecF v = fma(a.one_less_beta2 * g, g, load(exp_avg_sq + i, part) * a.beta2);
    const VecF denominator = sqrt(v) / a.root_correction2 + a.eps;
    const VecF p = load(master + i, part) * a.decay + a.minus_step_size * m / denominator;
    store(exp_avg + i, m, part);
    store(exp_avg_sq + i, v, part);
    store(master + i, p, part);
    if (copy != nullptr) store(copy + i, p, part);
  });
}

/// Element i of every 16 goes to sum i % 16, whatever the width of a vector; the square of a float is exact in f64, so
/// that a fused multiply-add changes no bit.
constexpr int sums = 16;
constexpr int doubles = lanes / 2;

DSTRAIN_FLATTEN double sum_of_squares(const float* x, std::int64_t count) {
  alignas(64) double lane[sums] = {};
  VecD s[sums / doubles] = {};
  std::int64_t i = 0;
  for (; i + sums <= count; i += sums) {
    for (int k = 0; k < sums / doubles; ++k) {
      HalfF half;
      __builtin_memcpy(&half, x + i + k * doubles, sizeof half);
      const VecD v = __builtin_convertvector(half, VecD);
      s[k] += v * v;
    }
  }
  __builtin_memcpy(lane, s, sizeof lane);
  for (int k = 0; i < count; ++i, ++k) lane[k] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  for (int width = sums / 2; width > 0; width /= 2) {
    for (int k = 0; k < width; ++k) lane[k] += lane[k + width];
  }
  return lane[0];
}

}  // namespace

const OptimizerFunctions optimizer = {adamw, sum_of_squares};

}  // namespace dstrain::cpu::DSTRAIN_ISA
