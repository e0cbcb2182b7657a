// SPDX-License-Identifier: Apache-2.0
/// One row of an activation, with and without a gate, forward and backward.
#include "kernels/cpu/simd/functions.hpp"
#include "kernels/cpu/simd/vector_math.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

/// An activation and its derivative at the same places.
struct At {
  VecF value;
  VecF slope;
};

struct Silu {
  DSTRAIN_INLINE static VecF value(VecF x) { return x * sigmoid(x); }
  DSTRAIN_INLINE static At at(VecF x) {
    const VecF s = sigmoid(x);
    const VecF silu = x * s;
    // silu'(x) = s (1 + x (1 - s)) = s + silu (1 - s)
    return {silu, fma(silu, 1.0F - s, s)};
  }
};

struct Gelu {
  DSTRAIN_INLINE static VecF value(VecF x) { return x * normal_distribution(x).cumulated; }
  DSTRAIN_INLINE static At at(VecF x) {
    const Normal n = normal_distribution(x);
    return {x * n.cumulated, fma(x, n.density, n.cumulated)};
  }
};

/// (1 + tanh(u)) / 2 = sigmoid(2u)
struct GeluTanh {
  static constexpr float c = 1.5957691216057308F;  ///< 2 sqrt(2/pi)
  static constexpr float cubic = 0.044715F;
  DSTRAIN_INLINE static VecF gate(VecF x) { return sigmoid(c * fma(x * x * x, broadcast(cubic), x)); }
  DSTRAIN_INLINE static VecF value(VecF x) { return x * gate(x); }
  DSTRAIN_INLINE static At at(VecF x) {
    const VecF s = gate(x);
    const VecF inner = c * fma(x * x, broadcast(3.0F * cubic), broadcast(1.0F));
    return {x * s, fma(x * s * (1.0F - s), inner, s)};
  }
};

struct Relu {
  DSTRAIN_INLINE static VecF value(VecF x) { return x < 0.0F ? VecF{} : x; }  // a NaN stays one
  DSTRAIN_INLINE static At at(VecF x) { return {value(x), x > 0.0F ? broadcast(1.0F) : VecF{}}; }
};

template <typename A, typename S>
DSTRAIN_FLATTEN void gated_forward(void* h_void, const void* gate_void, const void* up_void, std::int64_t F) {
  S* h = static_cast<S*>(h_void);
  const S* gate = static_cast<const S*>(gate_void);
  const S* up = static_cast<const S*>(up_void);
  for_lanes(
      F, [&](std::int64_t f, auto part) { store(h + f, A::value(load(gate + f, part)) * load(up + f, part), part); });
}

template <typename A, typename S>
DSTRAIN_FLATTEN void gated_backward(void* dgate_void, void* dup_void, const void* dh_void, const void* gate_void,
                                    const void* up_void, std::int64_t F) {
  S* dgate = static_cast<S*>(dgate_void);
  S* dup = static_cast<S*>(dup_void);
  const S* dh = static_cast<const S*>(dh_void);
  const S* gate = static_cast<const S*>(gate_void);
  const S* up = static_cast<const S*>(up_void);
  for_lanes(F, [&](std::int64_t f, auto part) {
    const At a = A::at(load(gate + f, part));
    const VecF u = load(up + f, part);
    const VecF d = load(dh + f, part);
    store(dgate + f, d * u * a.slope, part);
    store(dup + f, d * a.value, part);
  });
}

template <typename A, typename S>
DSTRAIN_FLATTEN void plain_forward(void* h_void, const void* x_void, std::int64_t F) {
  S* h = static_cast<S*>(h_void);
  const S* x = static_cast<const S*>(x_void);
  for_lanes(F, [&](std::int64_t f, auto part) { store(h + f, A::value(load(x + f, part)), part); });
}

template <typename A, typename S>
DSTRAIN_FLATTEN void plain_backward(void* dx_void, const void* dh_void, const void* x_void, std::int64_t F) {
  S* dx = static_cast<S*>(dx_void);
  const S* dh = static_cast<const S*>(dh_void);
  const S* x = static_cast<const S*>(x_void);
  for_lanes(
      F, [&](std::int64_t f, auto part) { store(dx + f, load(dh + f, part) * A::at(load(x + f, part)).slope, part); });
}

using Bits = std::uint16_t;

template <typename A>
constexpr ActivationFunctions::OfKind of_kind = {
    {gated_forward<A, float>, gated_forward<A, Bits>, gated_forward<A, Half>},
    {gated_backward<A, float>, gated_backward<A, Bits>, gated_backward<A, Half>},
    {plain_forward<A, float>, plain_forward<A, Bits>, plain_forward<A, Half>},
    {plain_backward<A, float>, plain_backward<A, Bits>, plain_backward<A, Half>}};

}  // namespace

// In the order of enum Activation.
const ActivationFunctions activation = {{of_kind<Silu>, of_kind<Gelu>, of_kind<GeluTanh>, of_kind<Relu>}};

}  // namespace dstrain::cpu::DSTRAIN_ISA
