// SPDX-License-Identifier: Apache-2.0
/// The innermost loop of all matrix products: a tile of C held in registers while k runs. Only for the files that are
/// compiled once per instruction set (see vec.hpp).
///
/// Both operands are packed into panels of 32-bit words: a panel of A holds, for each k, `tile_rows` words, one of B
/// `tile_columns` words. A word is one float, or two neighbouring k of bf16. Every element of C is one chain of
/// multiply-adds in the order of k, whatever tile it falls into: the bits of a product depend neither on the tiling nor
/// on M and N. Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34 (2008).
#pragma once

#include "kernels/cpu/simd/gemm_functions.hpp"
#include "kernels/cpu/simd/vec.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

// 24 sums + 3 vectors of B + 1 of A fit 32 registers, 12 + 3 + 1 fit 16.
#if defined(__AVX512F__)
constexpr int tile_rows = 8;
#else
constexpr int tile_rows = 4;
#endif
constexpr int tile_vectors = 3;
constexpr int tile_columns = tile_vectors * lanes;

/// Words are floats.
struct MultiplyF32 {
  static DSTRAIN_INLINE VecF add(VecF sum, VecF a, VecF b) { return fma(a, b, sum); }
  static DSTRAIN_INLINE VecH narrow(VecF v) { return DSTRAIN_ISA::narrow(v); }
};

/// sum[r][v] += sum_k a[k * a_step + r * a_row] * b[k * tile_columns + v * lanes ..]
///
/// a_row and a_step are constants so that one pointer reaches all rows. A packed panel: 1, tile_rows. A row-major
/// block: its stride, 1. The transpose of such a block: 1, its stride.
template <typename Multiply, int a_row, int a_step, int rows, int vectors>
DSTRAIN_INLINE void multiply_panels(VecF (&sum)[rows][vectors], const float* a, const float* b, std::int64_t words) {
  for (std::int64_t k = 0; k < words; ++k) {
    VecF b_k[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) b_k[v] = load(b + v * lanes, Full{});
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const VecF a_k = broadcast(a[r * a_row]);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sum[r][v] = Multiply::add(sum[r][v], a_k, b_k[v]);
    }
    a += a_step;
    b += tile_columns;
  }
}

/// The same with rows of A as they lie in memory, `row_bytes` apart: words that run along k need no packing, because a
/// word is broadcast from wherever it is. The rows of the next tile are asked for on the way.
template <typename Multiply, int rows, int vectors>
DSTRAIN_INLINE void multiply_rows(VecF (&sum)[rows][vectors], const float* a, std::int64_t row_bytes, const float* b,
                                  std::int64_t words) {
  const char* row[rows];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) row[r] = reinterpret_cast<const char*>(a) + r * row_bytes;
  for (std::int64_t k = 0; k < words; ++k) {
    VecF b_k[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) b_k[v] = load(b + v * lanes, Full{});
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      float word;
      __builtin_memcpy(&word, row[r] + 4 * k, sizeof word);
      const VecF a_k = broadcast(word);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sum[r][v] = Multiply::add(sum[r][v], a_k, b_k[v]);
    }
    b += tile_columns;
  }
}

}  // namespace
}  // namespace dstrain::cpu::DSTRAIN_ISA
