// SPDX-License-Identifier: Apache-2.0
/// Rows of a head whose rows count with length one, columns scaled, dropout, soft caps.
#include "kernels/cpu/simd/functions.hpp"
#include "kernels/cpu/simd/vector_math.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

template <typename S>
DSTRAIN_FLATTEN float sum_of_squares(const void* x_void, std::int64_t D) {
  const S* x = static_cast<const S*>(x_void);
  return sum_over(D, [&](std::int64_t d, auto part) {
    const VecF v = load(x + d, part);
    return v * v;
  });
}

template <typename S>
DSTRAIN_FLATTEN void multiply(void* x_void, const float* factor, std::int64_t count) {
  S* x = static_cast<S*>(x_void);
  for_lanes(count, [&](std::int64_t i, auto part) { store(x + i, load(x + i, part) * load(factor + i, part), part); });
}

template <typename S>
DSTRAIN_FLATTEN void remove_component(float* dw, const void* w_void, float squared_r, std::int64_t D) {
  const S* w = static_cast<const S*>(w_void);
  const float along = sum_over(D, [&](std::int64_t d, auto part) { return load(dw + d, part) * load(w + d, part); });
  const VecF factor = broadcast(-along * squared_r);
  for_lanes(
      D, [&](std::int64_t d, auto part) { store(dw + d, fma(load(w + d, part), factor, load(dw + d, part)), part); });
}

DSTRAIN_FLATTEN void softcap(float* x, float cap, std::int64_t count) {
  for_lanes(count, [&](std::int64_t i, auto part) { store(x + i, cap * tanh(load(x + i, part) / cap), part); });
}

}  // namespace

const RowNormFunctions row_norm = {{sum_of_squares<float>, sum_of_squares<std::uint16_t>, sum_of_squares<Half>},
                                   {multiply<float>, multiply<std::uint16_t>, multiply<Half>},
                                   {remove_component<float>, remove_component<std::uint16_t>, remove_component<Half>},
                                   softcap};

}  // namespace dstrain::cpu::DSTRAIN_ISA
