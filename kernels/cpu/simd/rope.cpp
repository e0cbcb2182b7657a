// SPDX-License-Identifier: Apache-2.0
/// Rotation of the heads of one token.
#include "kernels/cpu/simd/functions.hpp"
#include "kernels/cpu/simd/vec.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

template <typename S>
DSTRAIN_FLATTEN void token(void* x_void, const float* cos, const float* sin, std::int64_t heads, std::int64_t head_dim,
                           std::int64_t rotary_dim, bool inverse) {
  const std::int64_t half = rotary_dim / 2;
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

/// Element i of v of the lanes [from, from + lanes / 2), each twice: the table values of `lanes` elements of a head.
DSTRAIN_INLINE VecF each_twice(VecF v, int from) {
  VecI source;
  for (int i = 0; i < lanes; ++i) source[i] = from + i / 2;
  return __builtin_shuffle(v, source);
}

/// Neighbours change places.
DSTRAIN_INLINE VecF swap_pairs(VecF v) {
  VecI source;
  for (int i = 0; i < lanes; ++i) source[i] = i ^ 1;
  return __builtin_shuffle(v, source);
}

/// `sign` is -1 in even lanes and 1 in odd ones (inverse: the other way round).
template <typename S>
DSTRAIN_INLINE void turn_pairs(S* x, VecF c, VecF s, VecF sign) {
  const VecF v = load(x, Full{});
  store(x, fma(v, c, swap_pairs(v) * (s * sign)), Full{});
}

template <typename S>
DSTRAIN_FLATTEN void token_interleaved(void* x_void, const float* cos, const float* sin, std::int64_t heads,
                                       std::int64_t head_dim, std::int64_t rotary_dim, bool inverse) {
  const std::int64_t half = rotary_dim / 2;
  VecF sign;
  for (int i = 0; i < lanes; ++i) sign[i] = (i % 2 == 0) != inverse ? -1.0F : 1.0F;
  for (std::int64_t h = 0; h < heads; ++h) {
    S* x = static_cast<S*>(x_void) + h * head_dim;
    std::int64_t i = 0;
    for (; i + lanes <= half; i += lanes) {
      const VecF c = load(cos + i, Full{});
      const VecF s = load(sin + i, Full{});
      turn_pairs(x + 2 * i, each_twice(c, 0), each_twice(s, 0), sign);
      turn_pairs(x + 2 * i + lanes, each_twice(c, lanes / 2), each_twice(s, lanes / 2), sign);
    }
    for (; i < half; ++i) {
      const Tail two{2};
      const VecF c = broadcast(cos[i]);
      const VecF v = load(x + 2 * i, two);
      store(x + 2 * i, fma(v, c, swap_pairs(v) * (broadcast(sin[i]) * sign)), two);
    }
  }
}

}  // namespace

const RopeFunctions rope = {{token<float>, token<std::uint16_t>, token<Half>},
                            {token_interleaved<float>, token_interleaved<std::uint16_t>, token_interleaved<Half>}};

}  // namespace dstrain::cpu::DSTRAIN_ISA
