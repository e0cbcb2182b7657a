// SPDX-License-Identifier: Apache-2.0
/// Rotation of the heads of one token.
#include "kernels/cpu/simd/functions.hpp"
#include "kernels/cpu/simd/vec.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

template <typename S>
DSTRAIN_FLATTEN void token(void* x_void, const float* cos, const float* sin, std::int64_t heads, std::int64_t head_dim,
                           bool inverse) {
  const std::int64_t half = head_dim / 2;
  const float sign = inverse ? -1.0F : 1.0F;
  for (std::int64_t h = 0; h < heads; ++h) {
    S* low = static_cast<S*>(x_void) + h * head_dim;
    S* high = low + half;
    for_lanes(half, [&](std::int64_t i, auto part) {
      const VecF c = load(cos + i, part);
      const VecF s = load(sin + i, part) * sign;
      const VecF a = load(low + i, part);
      const VecF b = load(high + i, part);
      store(low + i, fma(a, c, -(b * s)), part);
      store(high + i, fma(b, c, a * s), part);
    });
  }
}

}  // namespace

const RopeFunctions rope = {{token<float>, token<std::uint16_t>, token<Half>}};

}  // namespace dstrain::cpu::DSTRAIN_ISA
