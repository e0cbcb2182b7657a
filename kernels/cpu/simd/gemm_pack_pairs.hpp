// SPDX-License-Identifier: Apache-2.0
/// Packing of bf16 pairs where rows of memory run along the panel's width, for AVX-512: whole cache lines of two rows
/// are interleaved by one shuffle per vector. Only for the files compiled once per instruction set.
#pragma once

#include "kernels/cpu/simd/gemm_functions.hpp"
#include "kernels/cpu/simd/vec.hpp"

#if defined(__AVX512F__)

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

/// Words 0 .. 15 and 16 .. 31 of two rows of 32 elements each.
struct Interleaved {
  __m512i low;
  __m512i high;
};

DSTRAIN_INLINE Interleaved interleave(__m512i first, __m512i second) {
  const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37,
                                       5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i high = _mm512_set_epi16(63, 31, 62, 30, 61, 29, 60, 28, 59, 27, 58, 26, 57, 25, 56, 24, 55, 23, 54, 22,
                                        53, 21, 52, 20, 51, 19, 50, 18, 49, 17, 48, 16);
  return {_mm512_permutex2var_epi16(first, low, second), _mm512_permutex2var_epi16(first, high, second)};
}

/// Columns that one pass over k takes: whole lines, whole panels.
template <int panel>
constexpr std::int64_t pair_strip = panel == 48 ? 96 : 32;

/// One strip of pair_strip<panel> columns from `source` on: its panels stand words * panel floats apart from `dst` on.
/// Rows further down, and then the top of the next strip, are asked for ahead: no hardware follows such steps.
template <int panel>
DSTRAIN_INLINE void pack_pair_strip(float* dst, const std::uint16_t* source, std::int64_t stride, std::int64_t words) {
  static_assert(panel == 8 || panel == 48);
  constexpr int lines = pair_strip<panel> / 32;
  constexpr std::int64_t ahead = panel == 8 ? 48 : 24;
  const std::int64_t panel_floats = words * panel;
  for (std::int64_t k = 0; k < words; ++k) {
    const std::uint16_t* row = source + 2 * k * stride;
    const std::uint16_t* later =
        k + ahead < words ? row + 2 * ahead * stride : row + 2 * (ahead - words) * stride + pair_strip<panel>;
    __m512i word[2 * lines];
#pragma GCC unroll 3
    for (int i = 0; i < lines; ++i) {
      __builtin_prefetch(later + 32 * i);
      __builtin_prefetch(later + stride + 32 * i);
      const Interleaved both = interleave(_mm512_loadu_si512(row + 32 * i), _mm512_loadu_si512(row + stride + 32 * i));
      word[2 * i] = both.low;
      word[2 * i + 1] = both.high;
    }
    if constexpr (panel == 48) {
#pragma GCC unroll 6
      for (int v = 0; v < 6; ++v) _mm512_storeu_si512(dst + (v / 3) * panel_floats + (v % 3) * lanes, word[v]);
    } else {
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        // maskz: the plain forms trip -Wmaybe-uninitialized in GCC 12
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + 2 * v * panel_floats),
                            _mm512_maskz_extracti64x4_epi64(0xf, word[v], 0));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + (2 * v + 1) * panel_floats),
                            _mm512_maskz_extracti64x4_epi64(0xf, word[v], 1));
      }
    }
    dst += panel;
  }
}

/// As many whole strips as there are, for an even k. Returns the columns done.
template <int panel>
DSTRAIN_FLATTEN std::int64_t pack_pair_strips(float* dst, const PackSource& s) {
  if (s.k % 2 != 0) return 0;
  const std::int64_t words = s.k / 2;
  const auto* source = static_cast<const std::uint16_t*>(s.data);
  std::int64_t w = 0;
  for (; w + pair_strip<panel> <= s.width; w += pair_strip<panel>)
    pack_pair_strip<panel>(dst + w * words, source + w, s.stride, words);
  return w;
}

}  // namespace
}  // namespace dstrain::cpu::DSTRAIN_ISA

#endif
