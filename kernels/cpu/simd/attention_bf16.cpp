// SPDX-License-Identifier: Apache-2.0
/// Attention with products of bf16 pairs: scores and sums in f32, the weights behind the softmax and the gradients of
/// the scores rounded to bf16 where they are multiplied. Compiled for avx512_bf16 where the set is avx512, empty
/// elsewhere.
#if defined(__AVX512F__)
#pragma GCC target("avx512bf16")
#endif

#include "kernels/cpu/simd/attention_functions.hpp"
#if defined(__AVX512F__)
#include "kernels/cpu/simd/attention_backward_blocks.hpp"
#include "kernels/cpu/simd/attention_forward_strips.hpp"
#include "kernels/cpu/simd/tile_bf16.hpp"
#endif

namespace dstrain::cpu::DSTRAIN_ISA {

#if defined(__AVX512F__)
namespace {

/// Two neighbours of a summed dimension in each word.
struct PairWords {
  using Storage = std::uint16_t;
  using Multiply = MultiplyBf16;
  static constexpr bool pairs = true;
  static constexpr Packing packing = Packing::bf16_pairs;

  /// `count` floats to words of two neighbours, in whole vectors.
  static DSTRAIN_INLINE void narrow_row(float* words, const float* row, std::int64_t count) {
    auto* to = reinterpret_cast<std::uint16_t*>(words);
    for (std::int64_t i = 0; i < count; i += lanes) store(to + i, Multiply::narrow(load(row + i, Full{})), Full{});
  }
  /// tile_rows rows of floats to rows of words: each holds the same column of two rows.
  static DSTRAIN_INLINE void pair_rows(float* words, const float* rows, std::int64_t stride, std::int64_t count) {
    for (std::int64_t r = 0; r < tile_rows; r += 2) {
      for (std::int64_t i = 0; i < count; i += lanes) {
        const VecU first = as_u(widen(Multiply::narrow(load(rows + r * stride + i, Full{})))) >> 16;
        const VecU second = as_u(widen(Multiply::narrow(load(rows + (r + 1) * stride + i, Full{}))));
        store(words + r / 2 * stride + i, as_f(first | second), Full{});
      }
    }
  }
};

}  // namespace

const AttentionBf16Functions attention_bf16 = {forward<PairWords>, backward<PairWords>};
#else
const AttentionBf16Functions attention_bf16 = {nullptr, nullptr};
#endif

}  // namespace dstrain::cpu::DSTRAIN_ISA
