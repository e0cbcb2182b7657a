// SPDX-License-Identifier: Apache-2.0
/// SwiGLU, conversion, addition and scaling of runs of elements.
#include "kernels/cpu/simd/functions.hpp"
#include "kernels/cpu/simd/vector_math.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

template <typename S>
DSTRAIN_FLATTEN void swiglu_forward_row(void* h_void, const void* gate_void, const void* up_void, std::int64_t F) {
  S* h = static_cast<S*>(h_void);
  const S* gate = static_cast<const S*>(gate_void);
  const S* up = static_cast<const S*>(up_void);
  for_lanes(F, [&](std::int64_t f, auto part) {
    const VecF g = load(gate + f, part);
    store(h + f, g * sigmoid(g) * load(up + f, part), part);
  });
}

template <typename S>
DSTRAIN_FLATTEN void swiglu_backward_row(void* dgate_void, void* dup_void, const void* dh_void, const void* gate_void,
                                         const void* up_void, std::int64_t F) {
  S* dgate = static_cast<S*>(dgate_void);
  S* dup = static_cast<S*>(dup_void);
  const S* dh = static_cast<const S*>(dh_void);
  const S* gate = static_cast<const S*>(gate_void);
  const S* up = static_cast<const S*>(up_void);
  for_lanes(F, [&](std::int64_t f, auto part) {
    const VecF g = load(gate + f, part);
    const VecF u = load(up + f, part);
    const VecF d = load(dh + f, part);
    const VecF s = sigmoid(g);
    const VecF silu = g * s;
    // silu'(g) = s (1 + g (1 - s)) = s + silu (1 - s)
    store(dgate + f, d * u * fma(silu, 1.0F - s, s), part);
    store(dup + f, d * silu, part);
  });
}

template <typename D, typename S>
DSTRAIN_FLATTEN void convert(void* dst_void, const void* src_void, std::int64_t count) {
  D* dst = static_cast<D*>(dst_void);
  const S* src = static_cast<const S*>(src_void);
  for_lanes(count, [&](std::int64_t i, auto part) { store(dst + i, load(src + i, part), part); });
}

template <typename D, typename S>
DSTRAIN_FLATTEN void add(void* dst_void, const void* src_void, std::int64_t count) {
  D* dst = static_cast<D*>(dst_void);
  const S* src = static_cast<const S*>(src_void);
  for_lanes(count, [&](std::int64_t i, auto part) { store(dst + i, load(dst + i, part) + load(src + i, part), part); });
}

template <typename S>
DSTRAIN_FLATTEN void scale(void* x_void, float factor, std::int64_t count) {
  S* x = static_cast<S*>(x_void);
  for_lanes(count, [&](std::int64_t i, auto part) { store(x + i, load(x + i, part) * factor, part); });
}

using Bits = std::uint16_t;

}  // namespace

const ElementwiseFunctions elementwise = {
    {swiglu_forward_row<float>, swiglu_forward_row<Bits>, swiglu_forward_row<Half>},
    {swiglu_backward_row<float>, swiglu_backward_row<Bits>, swiglu_backward_row<Half>},
    {convert<float, float>, convert<Bits, float>, convert<Half, float>},
    {convert<float, float>, convert<float, Bits>, convert<float, Half>},
    {add<float, float>, add<Bits, Bits>, add<Half, Half>},
    {add<float, float>, add<float, Bits>, add<float, Half>},
    {scale<float>, scale<Bits>, scale<Half>},
};

}  // namespace dstrain::cpu::DSTRAIN_ISA
