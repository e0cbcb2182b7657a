// SPDX-License-Identifier: Apache-2.0
/// Packing of matrix operands into panels. Only for the files that are compiled once per instruction set.
#pragma once

#include "kernels/cpu/simd/gemm_functions.hpp"
#include "kernels/cpu/simd/gemm_pack_pairs.hpp"
#include "kernels/cpu/simd/transpose.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

/// Loads the words k .. k + lanes - 1 of one row that is contiguous in k; the words behind `left` elements are zero.
template <Packing packing>
DSTRAIN_INLINE VecF load_words(const void* row, std::int64_t word, std::int64_t k_end) {
  if constexpr (packing == Packing::f32) {
    const float* p = static_cast<const float*>(row) + word;
    return word + lanes <= k_end ? load(p, Full{}) : load(p, Tail{static_cast<int>(k_end - word)});
  } else if constexpr (packing == Packing::bf16_as_f32) {
    const std::uint16_t* p = static_cast<const std::uint16_t*>(row) + word;
    return word + lanes <= k_end ? load(p, Full{}) : load(p, Tail{static_cast<int>(k_end - word)});
  } else if constexpr (packing == Packing::f16_as_f32) {
    const Half* p = static_cast<const Half*>(row) + word;
    return word + lanes <= k_end ? load(p, Full{}) : load(p, Tail{static_cast<int>(k_end - word)});
  } else {
    const std::uint16_t* p = static_cast<const std::uint16_t*>(row) + 2 * word;
    VecF v = {};
    const std::int64_t left = k_end - 2 * word;
    if (left >= 2 * lanes) {
      __builtin_memcpy(&v, p, sizeof v);
    } else {
      std::uint16_t part[2 * lanes] = {};
      for (int i = 0; i < left; ++i) part[i] = p[i];
      __builtin_memcpy(&v, part, sizeof v);
    }
    return v;
  }
}

template <Packing packing>
constexpr std::int64_t element_bytes = packing == Packing::f32 ? 4 : 2;

/// Bytes in memory of what becomes one word.
template <Packing packing>
constexpr std::int64_t word_bytes = packing == Packing::bf16_as_f32 || packing == Packing::f16_as_f32 ? 2 : 4;

template <Packing packing>
DSTRAIN_INLINE std::int64_t words_of(std::int64_t k) {
  return packing == Packing::bf16_pairs ? (k + 1) / 2 : k;
}

/// Stores the `lanes` words of columns w .. w + lanes - 1 at word k. Panels narrower than a vector take its pieces.
template <int panel>
DSTRAIN_INLINE void store_across(float* dst, VecF v, std::int64_t w, std::int64_t k, std::int64_t words,
                                 std::int64_t width) {
  if constexpr (panel >= lanes) {
    store(dst + (w / panel * words + k) * panel + w % panel, v, Full{});
  } else {
#pragma GCC unroll 4
    for (int piece = 0; piece < lanes / panel; ++piece) {
      if (w + piece * panel >= width) break;
      __builtin_memcpy(dst + ((w / panel + piece) * words + k) * panel,
                       reinterpret_cast<const float*>(&v) + piece * panel, panel * sizeof(float));
    }
  }
}

/// Rows of memory run along k: squares are transposed.
template <Packing packing, int panel>
DSTRAIN_FLATTEN void pack_along_k(float* dst, const PackSource& s) {
  const std::int64_t words = words_of<packing>(s.k);
  const std::int64_t row_bytes = s.stride * element_bytes<packing>;
  const std::int64_t padded = (s.width + panel - 1) / panel * panel;
  for (std::int64_t w = 0; w < padded; w += lanes) {
    const char* base = static_cast<const char*>(s.data) + w * row_bytes;
    for (std::int64_t k = 0; k < words; k += lanes) {
      VecF row[lanes];
      if (k % 16 == 0) {
        for (int i = 0; i < lanes; ++i) {
          if (w + i < s.width) __builtin_prefetch(base + i * row_bytes + (k + 32) * word_bytes<packing>);
        }
      }
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) {
        row[i] = w + i < s.width ? load_words<packing>(base + i * row_bytes, k, s.k) : VecF{};
      }
      transpose(row);
      const int count = static_cast<int>(words - k < lanes ? words - k : lanes);
      for (int i = 0; i < count; ++i) store_across<panel>(dst, row[i], w, k + i, words, padded);
    }
  }
}

/// Words of columns w .. w + lanes - 1 at word k; zero outside the matrix.
template <Packing packing>
DSTRAIN_INLINE VecF load_across(const PackSource& s, std::int64_t w, std::int64_t k) {
  if (w >= s.width) return VecF{};
  const std::int64_t left = s.width - w;
  if constexpr (packing == Packing::f32) {
    const float* p = static_cast<const float*>(s.data) + k * s.stride + w;
    return left >= lanes ? load(p, Full{}) : load(p, Tail{static_cast<int>(left)});
  } else if constexpr (packing == Packing::bf16_as_f32) {
    const std::uint16_t* p = static_cast<const std::uint16_t*>(s.data) + k * s.stride + w;
    return left >= lanes ? load(p, Full{}) : load(p, Tail{static_cast<int>(left)});
  } else if constexpr (packing == Packing::f16_as_f32) {
    const Half* p = static_cast<const Half*>(s.data) + k * s.stride + w;
    return left >= lanes ? load(p, Full{}) : load(p, Tail{static_cast<int>(left)});
  } else {
    const std::uint16_t* p = static_cast<const std::uint16_t*>(s.data) + 2 * k * s.stride + w;
    const bool has_second = 2 * k + 1 < s.k;
    // A widened bf16 is its bits in the upper half of the word.
    const VecU first = as_u(left >= lanes ? load(p, Full{}) : load(p, Tail{static_cast<int>(left)})) >> 16;
    if (!has_second) return as_f(first);
    const VecU second =
        as_u(left >= lanes ? load(p + s.stride, Full{}) : load(p + s.stride, Tail{static_cast<int>(left)}));
    return as_f(first | second);
  }
}

/// Rows of memory run along the panel's width: pieces of rows are copied. Blocks of k keep the rows that are read few
/// and the pieces that are written long.
template <Packing packing, int panel>
DSTRAIN_FLATTEN void pack_along_width(float* dst, const PackSource& s) {
  constexpr std::int64_t block = 16;
  const std::int64_t words = words_of<packing>(s.k);
  const std::int64_t padded = (s.width + panel - 1) / panel * panel;
  std::int64_t w0 = 0;
#if defined(__AVX512F__)
  if constexpr (packing == Packing::bf16_pairs) w0 = pack_pair_strips<panel>(dst, s);
#endif
  for (std::int64_t k0 = 0; k0 < words; k0 += block) {
    const std::int64_t k1 = k0 + block < words ? k0 + block : words;
    for (std::int64_t w = w0; w < padded; w += lanes) {
      for (std::int64_t k = k0; k < k1; ++k)
        store_across<panel>(dst, load_across<packing>(s, w, k), w, k, words, padded);
    }
  }
}

}  // namespace
}  // namespace dstrain::cpu::DSTRAIN_ISA
