// SPDX-License-Identifier: Apache-2.0
/// Register tiles of the matrix product of bf16 pairs. Compiled for avx512_bf16 where the set is avx512, empty
/// elsewhere.
#if defined(__AVX512F__)
#pragma GCC target("avx512bf16")
#endif

#include "kernels/cpu/simd/gemm_tile.hpp"
#if defined(__AVX512F__)
#include "kernels/cpu/simd/tile_bf16.hpp"
#endif

namespace dstrain::cpu::DSTRAIN_ISA {

#if defined(__AVX512F__)
const GemmBf16Functions gemm_bf16 = {multiply_tile<MultiplyBf16>};
#else
const GemmBf16Functions gemm_bf16 = {nullptr};
#endif

}  // namespace dstrain::cpu::DSTRAIN_ISA
