// SPDX-License-Identifier: Apache-2.0
/// AdamW and Lion on states of 8 bits: a block is widened, updated and rounded again while it is in the first-level
/// cache.
#include "kernels/cpu/simd/optimizer_steps.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

constexpr std::int64_t block = 256;

DSTRAIN_INLINE void widen_block(float* values, const std::uint8_t* code, float absmax, const float* map,
                                std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) values[i] = map[code[i]] * absmax;
}

/// The number of middles that x reaches: the index of the nearest value of the map.
DSTRAIN_INLINE int nearest(float x, const float* middle) {
  int at = 0;
  for (int step = 128; step > 0; step /= 2) at += x >= middle[at + step - 1] ? step : 0;
  return at;
}

DSTRAIN_INLINE void narrow_block(std::uint8_t* code, float& absmax, const float* values, const float* middle,
                                 std::int64_t n) {
  VecF top = {};
  for_lanes(n, [&](std::int64_t i, auto part) {
    const VecF v = load(values + i, part);
    top = max(v, max(-v, top));
  });
  absmax = greatest(top);
  const float inverse = absmax > 0.0F ? 1.0F / absmax : 0.0F;
  for (std::int64_t i = 0; i < n; ++i) code[i] = static_cast<std::uint8_t>(nearest(values[i] * inverse, middle));
}

DSTRAIN_FLATTEN void adamw(const Update8BitPointers& p, std::int64_t count, const UpdateScalars& scalars) {
  const UpdateScalars a = scalars;
  for (std::int64_t begin = 0; begin < count; begin += block) {
    const std::int64_t n = count - begin < block ? count - begin : block;
    const std::int64_t b = begin / block;
    alignas(64) float m[block];
    alignas(64) float v[block];
    widen_block(m, p.code1 + begin, p.absmax1[b], p.map1, n);
    widen_block(v, p.code2 + begin, p.absmax2[b], p.map2, n);
    for_lanes(n, [&](std::int64_t i, auto part) {
      const VecF g = load(p.gradient + begin + i, part) * a.gradient_scale;
      const VecF first = fma(broadcast(a.one_less_beta1), g, load(m + i, part) * a.beta1);
      const VecF second = fma(a.one_less_beta2 * g, g, load(v + i, part) * a.beta2);
      const VecF denominator = sqrt(second) / a.root_correction2 + a.eps;
      store(m + i, first, part);
      store(v + i, second, part);
      const VecF w = load(p.master + begin + i, part) * a.decay;
      store_weight(p.master, p.copy, begin + i, w + a.minus_step_size * first / denominator, part);
    });
    narrow_block(p.code1 + begin, p.absmax1[b], m, p.middle1, n);
    narrow_block(p.code2 + begin, p.absmax2[b], v, p.middle2, n);
  }
}

DSTRAIN_FLATTEN void lion(const Update8BitPointers& p, std::int64_t count, const UpdateScalars& scalars) {
  const UpdateScalars a = scalars;
  for (std::int64_t begin = 0; begin < count; begin += block) {
    const std::int64_t n = count - begin < block ? count - begin : block;
    const std::int64_t b = begin / block;
    alignas(64) float m[block];
    widen_block(m, p.code1 + begin, p.absmax1[b], p.map1, n);
    for_lanes(n, [&](std::int64_t i, auto part) {
      const VecF g = load(p.gradient + begin + i, part) * a.gradient_scale;
      const VecF old = load(m + i, part);
      const VecF direction = sign(old * a.beta1 + g * a.one_less_beta1);
      store(m + i, fma(broadcast(a.one_less_beta2), g, old * a.beta2), part);
      const VecF w = load(p.master + begin + i, part) * a.decay;
      store_weight(p.master, p.copy, begin + i, fma(broadcast(a.minus_step_size), direction, w), part);
    });
    narrow_block(p.code1 + begin, p.absmax1[b], m, p.middle1, n);
  }
}

}  // namespace

const Optimizer8BitFunctions optimizer_8bit = {adamw, lion};

}  // namespace dstrain::cpu::DSTRAIN_ISA
