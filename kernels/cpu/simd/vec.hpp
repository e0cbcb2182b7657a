// SPDX-License-Identifier: Apache-2.0
/// Vectors of the instruction set a file is compiled for: loads and stores of f32, bf16 and f16, tails, fused
/// multiply-add, sums.
///
/// Only for the files that are compiled once per instruction set. Everything here has internal linkage and is always
/// inlined; bf16 elements are their bits (std::uint16_t) and f16 elements a Half, because a shared inline function such
/// as bfloat16's constructor could be emitted by one of those files for all of them.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/half.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

// --- loads and stores: unaligned, f32, bf16 or f16 in memory, f32 in registers
// -----------------------------------------------

DSTRAIN_INLINE VecF load(const float* p, Full /*part*/) {
  VecF v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
DSTRAIN_INLINE VecH load_bits(const void* p, Full /*part*/) {
  VecH h;
  __builtin_memcpy(&h, p, sizeof h);
  return h;
}
DSTRAIN_INLINE void store(float* p, VecF v, Full /*part*/) { __builtin_memcpy(p, &v, sizeof v); }
DSTRAIN_INLINE void store(std::uint16_t* p, VecH h, Full /*part*/) { __builtin_memcpy(p, &h, sizeof h); }
#if defined(__AVX512F__)
DSTRAIN_INLINE __mmask16 mask_of(Tail part) { return static_cast<__mmask16>((1U << part.n) - 1U); }
DSTRAIN_INLINE VecF load(const float* p, Tail part, float fill = 0.0F) {
  return _mm512_mask_loadu_ps(broadcast(fill), mask_of(part), p);
}
DSTRAIN_INLINE VecH load_bits(const void* p, Tail part) {
  return reinterpret_cast<VecH>(_mm256_maskz_loadu_epi16(mask_of(part), p));
}
DSTRAIN_INLINE void store(float* p, VecF v, Tail part) { _mm512_mask_storeu_ps(p, mask_of(part), v); }
DSTRAIN_INLINE void store(std::uint16_t* p, VecH h, Tail part) {
  _mm256_mask_storeu_epi16(p, mask_of(part), reinterpret_cast<__m256i>(h));
}
#else
DSTRAIN_INLINE VecF load(const float* p, Tail part, float fill = 0.0F) {
  VecF v = broadcast(fill);
  for (int i = 0; i < lanes - 1; ++i) {
    if (i < part.n) v[i] = p[i];
  }
  return v;
}
DSTRAIN_INLINE VecH load_bits(const void* p, Tail part) {
  VecH h = {};
  for (int i = 0; i < lanes - 1; ++i) {
    if (i < part.n) h[i] = static_cast<const std::uint16_t*>(p)[i];
  }
  return h;
}
DSTRAIN_INLINE void store(float* p, VecF v, Tail part) {
  for (int i = 0; i < lanes - 1; ++i) {
    if (i < part.n) p[i] = v[i];
  }
}
DSTRAIN_INLINE void store(std::uint16_t* p, VecH h, Tail part) {
  for (int i = 0; i < lanes - 1; ++i) {
    if (i < part.n) p[i] = h[i];
  }
}
#endif

template <typename Part>
DSTRAIN_INLINE VecF load(const std::uint16_t* p, Part part) {
  return widen(load_bits(p, part));
}
template <typename Part>
DSTRAIN_INLINE VecF load(const Half* p, Part part) {
  return widen_half(load_bits(p, part));
}
template <typename Part>
DSTRAIN_INLINE void store(std::uint16_t* p, VecF v, Part part) {
  store(p, narrow(v), part);
}
template <typename Part>
DSTRAIN_INLINE void store(Half* p, VecF v, Part part) {
  store(&p->bits, narrow_half(v), part);
}

/// Stores v rounded to the storage type and returns what would be read back.
template <typename Part>
DSTRAIN_INLINE VecF store_rounded(float* p, VecF v, Part part) {
  store(p, v, part);
  return v;
}
template <typename Part>
DSTRAIN_INLINE VecF store_rounded(std::uint16_t* p, VecF v, Part part) {
  const VecU bits = rounded_bits(v);
  store(p, upper_halves(bits), part);
  return as_f(bits & 0xffff0000U);
}

template <typename Part>
DSTRAIN_INLINE VecF store_rounded(Half* p, VecF v, Part part) {
  const VecH h = narrow_half(v);
  store(&p->bits, h, part);
  return widen_half(h);
}

/// v as it would be read back from storage of p's type.
DSTRAIN_INLINE VecF rounded_to(const float* /*storage*/, VecF v) { return v; }
DSTRAIN_INLINE VecF rounded_to(const std::uint16_t* /*storage*/, VecF v) { return as_f(rounded_bits(v) & 0xffff0000U); }

DSTRAIN_INLINE VecF rounded_to(const Half* /*storage*/, VecF v) { return widen_half(narrow_half(v)); }

// --- arithmetic
// -----------------------------------------------------------------------------------------------------------

/// a * b + c, rounded once where the instruction set can, twice on the baseline.
DSTRAIN_INLINE VecF fma(VecF a, VecF b, VecF c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(a, b, c);
#else
  return a * b + c;
#endif
}

/// a > b ? a : b, which is b where either is NaN. GCC 12 does not find the one instruction for it.
DSTRAIN_INLINE VecF max(VecF a, VecF b) {
#if defined(__AVX512F__)
  return _mm512_maskz_max_ps(0xffff, a, b);
#elif defined(__AVX2__)
  return _mm256_max_ps(a, b);
#elif defined(__x86_64__)
  return _mm_max_ps(a, b);
#else
  return a > b ? a : b;
#endif
}

/// a < b ? a : b, which is b where either is NaN.
DSTRAIN_INLINE VecF min(VecF a, VecF b) {
#if defined(__AVX512F__)
  return _mm512_maskz_min_ps(0xffff, a, b);
#elif defined(__AVX2__)
  return _mm256_min_ps(a, b);
#elif defined(__x86_64__)
  return _mm_min_ps(a, b);
#else
  return a < b ? a : b;
#endif
}

/// Correctly rounded.
DSTRAIN_INLINE VecF sqrt(VecF v) {
#if defined(__AVX512F__)
  return _mm512_maskz_sqrt_ps(0xffff, v);  // the unmasked one trips -Wuninitialized in GCC 12 (bug 105593)
#elif defined(__AVX2__)
  return _mm256_sqrt_ps(v);
#elif defined(__x86_64__)
  return _mm_sqrt_ps(v);
#else
  for (int i = 0; i < lanes; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}

/// Sum of the lanes, halves folded onto each other.
DSTRAIN_INLINE float sum(VecF v) {
  float lane[lanes];
  __builtin_memcpy(lane, &v, sizeof v);
  for (int width = lanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  }
  return lane[0];
}

/// Greatest of the lanes.
DSTRAIN_INLINE float greatest(VecF v) {
  float lane[lanes];
  __builtin_memcpy(lane, &v, sizeof v);
  for (int width = lanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] = lane[i] > lane[i + width] ? lane[i] : lane[i + width];
  }
  return lane[0];
}

// --- loops
// ----------------------------------------------------------------------------------------------------------------

/// body(i, Full{}) for each whole vector of [0, n), then body(i, Tail{rest}) for what is left.
template <typename Body>
DSTRAIN_INLINE void for_lanes(std::int64_t n, const Body& body) {
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) body(i, Full{});
  if (i < n) body(i, Tail{static_cast<int>(n - i)});
}

/// Sum of term(i, part) over all lanes of [0, n), in four interleaved sums. `term` gives 0 in the lanes behind a tail:
/// loads fill them with zeros, so a product does.
template <typename Term>
DSTRAIN_INLINE float sum_over(std::int64_t n, const Term& term) {
  VecF s0 = {}, s1 = {}, s2 = {}, s3 = {};
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 += term(i, Full{});
    s1 += term(i + lanes, Full{});
    s2 += term(i + 2 * lanes, Full{});
    s3 += term(i + 3 * lanes, Full{});
  }
  for (; i + lanes <= n; i += lanes) s0 += term(i, Full{});
  if (i < n) s1 += term(i, Tail{static_cast<int>(n - i)});
  return sum((s0 + s1) + (s2 + s3));
}

}  // namespace
}  // namespace dstrain::cpu::DSTRAIN_ISA
