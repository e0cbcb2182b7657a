// SPDX-License-Identifier: Apache-2.0
/// Conversion between f32 and the bits of bf16 and f16. Only for the files that are compiled once per instruction set
/// (see vec.hpp).
#pragma once

#include "kernels/cpu/simd/vec_types.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

DSTRAIN_INLINE VecF widen(VecH h) {
#if defined(__AVX512F__)  // GCC 12 would convert two halves
  return as_f(reinterpret_cast<VecU>(_mm512_maskz_cvtepu16_epi32(0xffff, reinterpret_cast<__m256i>(h))) << 16);
#else
  return as_f(__builtin_convertvector(h, VecU) << 16);
#endif
}

/// The bits of v rounded to nearest even in the upper half, anything in the lower half; a NaN stays one (the quiet bit
/// is set), as in core's bfloat16.
DSTRAIN_INLINE VecU rounded_bits(VecF v) {
  const VecU u = as_u(v);
  return (v == v) ? u + 0x7fffU + ((u >> 16) & 1U) : u | 0x400000U;
}

/// The upper halves of the elements.
DSTRAIN_INLINE VecH upper_halves(VecU u) {
#if defined(__AVX512F__)
  return reinterpret_cast<VecH>(_mm512_maskz_cvtepi32_epi16(0xffff, reinterpret_cast<__m512i>(u >> 16)));
#else
  return __builtin_convertvector(u >> 16, VecH);
#endif
}

DSTRAIN_INLINE VecH narrow(VecF v) { return upper_halves(rounded_bits(v)); }

/// Exact.
DSTRAIN_INLINE VecF widen_half(VecH h) {
#if defined(__AVX512F__)
  return _mm512_maskz_cvtph_ps(0xffff, reinterpret_cast<__m256i>(h));
#elif defined(__F16C__)
  return _mm256_cvtph_ps(reinterpret_cast<__m128i>(h));
#else
  const VecU u = __builtin_convertvector(h, VecU);
  const VecU moved = (u & 0x7fffU) << 13;
  const VecU exponent = moved & 0x0f800000U;
  const VecU normal = moved + (112U << 23);
  // A subnormal half: one more in the exponent, and the implicit bit is taken away again as a number.
  const VecU subnormal = as_u(as_f(moved + (113U << 23)) - as_f(VecU{} + (113U << 23)));
  const VecU special = normal + (112U << 23);  // infinity and NaN
  const VecU magnitude = exponent == 0U ? subnormal : exponent == 0x0f800000U ? special : normal;
  return as_f(magnitude | (u & 0x8000U) << 16);
#endif
}

/// Rounded to nearest even; too large: infinity; a NaN stays one.
DSTRAIN_INLINE VecH narrow_half(VecF v) {
#if defined(__AVX512F__)
  return reinterpret_cast<VecH>(_mm512_maskz_cvtps_ph(0xffff, v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
  return reinterpret_cast<VecH>(_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
#else
  const VecU sign = as_u(v) & 0x80000000U;
  const VecU u = as_u(v) ^ sign;
  // Below the smallest normal half the addition of a number whose last bit has a half's weight rounds.
  const VecU magic = VecU{} + (126U << 23);
  const VecU subnormal = as_u(as_f(u) + as_f(magic)) - magic;
  const VecU normal = (u + 0xfffU + ((u >> 13) & 1U) - (112U << 23)) >> 13;
  const VecU special = u > 0x7f800000U ? VecU{} + 0x7e00U : VecU{} + 0x7c00U;
  const VecU half = u < (113U << 23) ? subnormal : u >= (143U << 23) ? special : normal;
  return __builtin_convertvector(half | sign >> 16, VecH);
#endif
}

}  // namespace
}  // namespace dstrain::cpu::DSTRAIN_ISA
