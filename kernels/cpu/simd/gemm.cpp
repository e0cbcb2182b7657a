// SPDX-License-Identifier: Apache-2.0
/// Packing and register tiles of the matrix product in f32.
#include "kernels/cpu/simd/gemm_pack.hpp"
#include "kernels/cpu/simd/gemm_tile.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {

#define DSTRAIN_PACK(packing, panel) {pack_along_k<packing, panel>, pack_along_width<packing, panel>}

const GemmFunctions gemm = {
    tile_rows,
    tile_columns,
    {DSTRAIN_PACK(Packing::f32, tile_rows), DSTRAIN_PACK(Packing::bf16_as_f32, tile_rows), DSTRAIN_PACK(Packing::bf16_pairs, tile_rows)},
    {DSTRAIN_PACK(Packing::f32, tile_columns), DSTRAIN_PACK(Packing::bf16_as_f32, tile_columns),
     DSTRAIN_PACK(Packing::bf16_pairs, tile_columns)},
    multiply_tile<MultiplyF32>,
    transpose_bf16};

}  // namespace dstrain::cpu::DSTRAIN_ISA
