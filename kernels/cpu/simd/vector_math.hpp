// SPDX-License-Identifier: Apache-2.0
/// Exponential, sigmoid, hyperbolic tangent and normal distribution of a vector. Only for the files that are compiled
/// once per instruction set (see vec.hpp).
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

/// Within 2 ulp. Moshier, "Methods and Programs for Mathematical Functions" (1989), tanhf: a polynomial near 0, where
/// the quotient of exponentials would lose its digits.
DSTRAIN_INLINE VecF tanh(VecF x) {
  const VecF size = x < 0.0F ? -x : x;
  const VecF far = 1.0F - 2.0F / (exp(2.0F * size) + 1.0F);
  const VecF z = x * x;
  VecF p = broadcast(-5.70498872745e-3F);
  p = fma(p, z, broadcast(2.06390887954e-2F));
  p = fma(p, z, broadcast(-5.37397155531e-2F));
  p = fma(p, z, broadcast(1.33314422036e-1F));
  p = fma(p, z, broadcast(-3.33332819422e-1F));
  return size < 0.625F ? fma(p * z, x, x) : x < 0.0F ? -far : far;
}

/// The standard normal distribution at the same places.
struct Normal {
  VecF density;    ///< e^(-x^2/2) / sqrt(2 pi)
  VecF cumulated;  ///< the probability of a value up to x
};

/// erfc(z) e^(z^2) is a smooth function of k = 1 / (1 + z/2) on the whole half line: k times the polynomial through its
/// values at the Chebyshev points of z <= 10, relative error 1.4e-7 in f32. Both tails keep their digits.
DSTRAIN_INLINE Normal normal_distribution(VecF x) {
  const VecF z = (x < 0.0F ? -x : x) * 0.70710678118654752F;
  const VecF k = 1.0F / fma(z, broadcast(0.5F), broadcast(1.0F));
  VecF p = broadcast(-0.05971492F);
  p = fma(p, k, broadcast(0.2877683F));
  p = fma(p, k, broadcast(-0.49386364F));
  p = fma(p, k, broadcast(0.2856977F));
  p = fma(p, k, broadcast(-0.03184176F));
  p = fma(p, k, broadcast(0.20485365F));
  p = fma(p, k, broadcast(0.24257289F));
  p = fma(p, k, broadcast(0.28244504F));
  p = fma(p, k, broadcast(0.28208268F));
  const VecF bell = exp(x * x * -0.5F);
  const VecF tail = 0.5F * bell * p * k;
  return {bell * 0.39894228040143268F, x < 0.0F ? tail : 1.0F - tail};
}

}  // namespace
}  // namespace dstrain::cpu::DSTRAIN_ISA
