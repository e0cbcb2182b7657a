// SPDX-License-Identifier: Apache-2.0
/// What the matrix product's vectorised files offer (see functions.hpp for the scheme).
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "kernels/cpu/simd/isa.hpp"

namespace dstrain::cpu {

/// How a finished tile goes to memory.
enum class TileStore : std::uint8_t { write_f32, add_f32, write_bf16, write_f16 };

/// How a product whose tiles are written once goes to a matrix of that type.
constexpr TileStore tile_store_of(DType c) noexcept {
  return c == DType::bf16 ? TileStore::write_bf16 : c == DType::f16 ? TileStore::write_f16 : TileStore::write_f32;
}

/// How elements become the 32-bit words that the tiles multiply.
enum class Packing : std::uint8_t {
  f32,          ///< f32 -> f32
  bf16_as_f32,  ///< bf16 -> f32
  bf16_pairs,   ///< two bf16 neighbours in k -> one word
  f16_as_f32    ///< f16 -> f32
};

/// Which dimension of a matrix is contiguous in memory: k, or the one that becomes a panel's width.
enum class Contiguous : std::uint8_t { k, width };

/// Part of a matrix to be packed: `width` x `k` elements, `stride` elements from one row in memory to the next.
struct PackSource {
  const void* data;
  std::int64_t stride;
  std::int64_t width;
  std::int64_t k;
};

/// Tile of packed operands: `words` of k, rows <= tile_rows, columns <= tile_columns.
struct TileOperands {
  const float* a;  ///< a packed panel, or the first of the rows in memory
  const float* b;
  std::int64_t words;
  int rows;
  int columns;
  std::int64_t a_row_bytes = 0;  ///< 0: packed; else rows of words that run along k, so many bytes apart
  const float* sums = nullptr;   ///< f32 added to the product before it is stored; null: none
  std::int64_t sums_stride = 0;  ///< elements
};

struct GemmFunctions {
  int tile_rows;     ///< width of a panel of A
  int tile_columns;  ///< width of a panel of B
  /// Packs panels of A or B: word k of panel p stands at dst + (p * words + k) * panel width; what lies behind the last
  /// row, column or odd k is zero. Indices: Packing, Contiguous.
  void (*pack_a[4][2])(float* dst, const PackSource& source);
  void (*pack_b[4][2])(float* dst, const PackSource& source);
  /// C[rows, columns] = or += A B for words of floats (`sums` only where C is written).
  void (*tile_f32)(void* c, std::int64_t ldc, const TileOperands& tile, TileStore store);
  /// dst[w * dst_stride + k] = source[k][w] for bf16 rows that run along the width; k is even, or the odd rest is
  /// written as zero.
  void (*transpose_bf16)(void* dst, std::int64_t dst_stride, const PackSource& source);
};

/// Rows times rows: c[m][n] for n in [n_begin, n_end) from rows of A and of B that both run along k.
struct DotOperands {
  const void* a;
  const void* b;
  void* c;
  std::int64_t lda;
  std::int64_t ldb;
  std::int64_t ldc;
  std::int64_t M;
  std::int64_t n_begin;
  std::int64_t n_end;
  std::int64_t K;
};

struct GemmDotFunctions {
  /// By storage type; sums in f32, over the lanes first. For few rows of A: B is read once and nothing is packed.
  void (*multiply[storage_types])(const DotOperands& operands, TileStore store);
};

struct GemmBf16Functions {
  /// The same for pairs of bf16, summed in f32; null where the instruction set has no such product. Only on CPUs with
  /// avx512_bf16.
  void (*tile)(void* c, std::int64_t ldc, const TileOperands& tile, TileStore store);
};

DSTRAIN_DECLARE_ISA_TABLE(GemmFunctions, gemm)
DSTRAIN_DECLARE_ISA_TABLE(GemmBf16Functions, gemm_bf16)
DSTRAIN_DECLARE_ISA_TABLE(GemmDotFunctions, gemm_dot)

}  // namespace dstrain::cpu
