// SPDX-License-Identifier: Apache-2.0
/// Vectors of the instruction set a file is compiled for: loads and stores of f32, bf16 and f16, tails, fused
/// multiply-add, sums.
///
/// Only for the files that are compiled once per instruction set. Everything here has internal linkage and is always
/// inlined; bf16 elements are their bits (std::uint16_t) and f16 elements a Half, because a shared inline function such
/// as bfloat16's constructor could be emitted by one of those files for all of them.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define DSTRAIN_INLINE inline __attribute__((always_inline))
/// On a table's functions: everything they call is inlined, lambdas too.
#define DSTRAIN_FLATTEN __attribute__((flatten))

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16;
#elif defined(__AVX2__)
constexpr int lanes = 8;
#else
constexpr int lanes = 4;
#endif

typedef float VecF __attribute__((vector_size(4 * lanes)));
typedef std::int32_t VecI __attribute__((vector_size(4 * lanes)));
typedef std::uint32_t VecU __attribute__((vector_size(4 * lanes)));
typedef std::uint16_t VecH __attribute__((vector_size(2 * lanes)));  ///< bf16 or f16 bits of one VecF
typedef double VecD __attribute__((vector_size(4 * lanes)));         ///< lanes / 2 doubles
typedef float HalfF __attribute__((vector_size(2 * lanes)));         ///< lanes / 2 floats

/// The bits of an IEEE half (f16).
struct Half {
  std::uint16_t bits;
};

/// How much of a vector is there: all of it, or the first n < lanes elements.
struct Full {};
struct Tail {
  int n;
};

DSTRAIN_INLINE VecF broadcast(float v) { return v - VecF{}; }
DSTRAIN_INLINE VecF as_f(VecU v) { return reinterpret_cast<VecF>(v); }
DSTRAIN_INLINE VecU as_u(VecF v) { return reinterpret_cast<VecU>(v); }

// --- conversion between f32 and bf16 bits
// -------------------------------------------------------------------------------

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

// --- conversion between f32 and f16 bits
// --------------------------------------------------------------------------------

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
