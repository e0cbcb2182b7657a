// SPDX-License-Identifier: Apache-2.0
/// Packing and register tiles of the matrix product in f32.
#include <cstddef>

#include "kernels/cpu/simd/gemm_pack.hpp"
#include "kernels/cpu/simd/gemm_tile.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

/// See GemmFunctions::transpose_bf16: squares of pairs, `lanes` columns by 2 * lanes values of k.
DSTRAIN_FLATTEN void transpose_bf16(void* dst, std::int64_t dst_stride, const PackSource& s) {
  const std::int64_t words = words_of<Packing::bf16_pairs>(s.k);
  for (std::int64_t w = 0; w < s.width; w += lanes) {
    for (std::int64_t k = 0; k < words; k += lanes) {
      VecF row[lanes];
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) row[i] = k + i < words ? load_across<Packing::bf16_pairs>(s, w, k + i) : VecF{};
      transpose(row);
      const int columns = static_cast<int>(s.width - w < lanes ? s.width - w : lanes);
      const std::size_t bytes = static_cast<std::size_t>(words - k < lanes ? words - k : lanes) * 4;
      for (int i = 0; i < columns; ++i)
        __builtin_memcpy(static_cast<std::uint16_t*>(dst) + (w + i) * dst_stride + 2 * k, &row[i], bytes);
    }
  }
}

}  // namespace

#define DSTRAIN_PACK(packing, panel) \
  { pack_along_k<packing, panel>, pack_along_width<packing, panel> }

const GemmFunctions gemm = {
    tile_rows,
    tile_columns,
    {DSTRAIN_PACK(Packing::f32, tile_rows), DSTRAIN_PACK(Packing::bf16_as_f32, tile_rows),
     DSTRAIN_PACK(Packing::bf16_pairs, tile_rows), DSTRAIN_PACK(Packing::f16_as_f32, tile_rows)},
    {DSTRAIN_PACK(Packing::f32, tile_columns), DSTRAIN_PACK(Packing::bf16_as_f32, tile_columns),
     DSTRAIN_PACK(Packing::bf16_pairs, tile_columns), DSTRAIN_PACK(Packing::f16_as_f32, tile_columns)},
    multiply_tile<MultiplyF32>,
    transpose_bf16};

}  // namespace dstrain::cpu::DSTRAIN_ISA
