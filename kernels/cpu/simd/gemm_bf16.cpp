// SPDX-License-Identifier: Apache-2.0
/// Register tiles of the matrix product of bf16 pairs. Compiled for avx512_bf16 where the set is avx512, empty
/// elsewhere.
#if defined(__AVX512F__)
#pragma GCC target("avx512bf16")
#endif

#include "kernels/cpu/simd/gemm_tile.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {

#if defined(__AVX512F__)
namespace {

/// VDPBF16PS adds both products of a lane, in f32, denormals as zero.
struct MultiplyBf16 {
  static DSTRAIN_INLINE VecF add(VecF sum, VecF a, VecF b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
};

}  // namespace

const GemmBf16Functions gemm_bf16 = {multiply_tile<MultiplyBf16>};
#else
const GemmBf16Functions gemm_bf16 = {nullptr};
#endif

}  // namespace dstrain::cpu::DSTRAIN_ISA
