// SPDX-License-Identifier: Apache-2.0
/// Exponential and sigmoid of a vector. Only for the files that are compiled once per instruction set (see vec.hpp).
#pragma once

#include "kernels/cpu/simd/vec.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

/// v * 2^n for the whole numbers that `exp` makes, n in [-151, 129]; `n_shifted` is n + 1.5 * 2^23 as a float.
DSTRAIN_INLINE VecF times_power_of_two(VecF v, VecF n, VecF n_shifted) {
#if defined(__AVX512F__)
  (void)n_shifted;
  return _mm512_maskz_scalef_ps(0xffff, v, n);  // all lanes; see sqrt in vec.hpp
#else
  // The low bits of n_shifted are n. Two factors, so that results below the normal range are reached by one last
  // rounding.
  (void)n;
  const VecI whole = reinterpret_cast<VecI>(n_shifted) - 0x4b400000;
  const VecI first = whole >> 1;
  const VecI second = whole - first;
  return (v * reinterpret_cast<VecF>((first + 127) << 23)) * reinterpret_cast<VecF>((second + 127) << 23);
#endif
}

/// e^x for x up to 89 within 2 ulp: 0 below -104, denormal results included, NaN for NaN. One comparison less than
/// `exp`.
///
/// Cody and Waite, "Software Manual for the Elementary Functions" (1980), ch. 6: x = n ln2 + r with ln2 in two pieces,
/// a polynomial in r, and 2^n put back into the exponent. Coefficients: Moshier, "Methods and Programs for Mathematical
/// Functions" (1989), expf.
DSTRAIN_INLINE VecF exp_up_to_89(VecF x) {
  x = max(broadcast(-104.0F), x);
  // Adding 1.5 * 2^23 leaves no fraction bits: round to nearest without SSE4.1.
  const VecF shift = broadcast(12582912.0F);
  const VecF n_shifted = fma(x, broadcast(1.44269504088896341F), shift);
  const VecF n = n_shifted - shift;
  VecF r = fma(n, broadcast(-0.693359375F), x);
  r = fma(n, broadcast(2.12194440e-4F), r);
  VecF p = broadcast(1.9875691500e-4F);
  p = fma(p, r, broadcast(1.3981999507e-3F));
  p = fma(p, r, broadcast(8.3334519073e-3F));
  p = fma(p, r, broadcast(4.1665795894e-2F));
  p = fma(p, r, broadcast(1.6666665459e-1F));
  p = fma(p, r, broadcast(5.0000001201e-1F));
  p = fma(p, r * r, r) + 1.0F;
  return times_power_of_two(p, n, n_shifted);
}

/// e^x within 2 ulp over the whole range of float: as above, and inf above 88.72.
DSTRAIN_INLINE VecF exp(VecF x) { return exp_up_to_89(min(broadcast(89.0F), x)); }

/// 1 / (1 + e^-x); 0 and 1 at the ends.
DSTRAIN_INLINE VecF sigmoid(VecF x) { return 1.0F / (1.0F + exp(-x)); }

}  // namespace
}  // namespace dstrain::cpu::DSTRAIN_ISA
