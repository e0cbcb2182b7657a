// SPDX-License-Identifier: Apache-2.0
/// Products of bf16 pairs for the innermost loops. Only for files that are compiled for avx512_bf16.
#pragma once

#include "kernels/cpu/simd/tile.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

/// VDPBF16PS adds both products of a lane, in f32, denormals as zero.
struct MultiplyBf16 {
  static DSTRAIN_INLINE VecF add(VecF sum, VecF a, VecF b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
  /// VCVTNEPS2BF16 rounds as narrow does and takes denormals as zero, which no sum of these products is.
  static DSTRAIN_INLINE VecH narrow(VecF v) { return reinterpret_cast<VecH>(_mm512_cvtneps_pbh(v)); }
};

}  // namespace
}  // namespace dstrain::cpu::DSTRAIN_ISA
