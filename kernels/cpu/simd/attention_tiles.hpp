// SPDX-License-Identifier: Apache-2.0
/// The products inside attention on blocks that stay in the caches, and which keys a query sees. Only for the files
/// compiled once per instruction set.
///
/// Scores of a strip of tile_rows queries against a block of up to key_block keys lie row-major in a buffer of constant
/// width, so that the same buffer is the left operand of P V and of dS K (rows) and of P^T dO and dS^T Q (columns)
/// without a copy.
#pragma once

#include "kernels/cpu/simd/attention_functions.hpp"
#include "kernels/cpu/simd/gemm_pack.hpp"
#include "kernels/cpu/simd/tile.hpp"
#include "kernels/cpu/simd/vector_math.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

constexpr std::int64_t key_block = 192;  ///< a multiple of tile_columns of every instruction set
static_assert(key_block % tile_columns == 0 && key_block % lanes == 0);

DSTRAIN_INLINE std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
DSTRAIN_INLINE std::int64_t most(std::int64_t a, std::int64_t b) { return a > b ? a : b; }
DSTRAIN_INLINE std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

/// Row length of strips of the output and of the gradients.
DSTRAIN_INLINE std::int64_t padded_dim(std::int64_t head_dim) { return round_up(head_dim, tile_columns); }

/// How elements in storage type S become the words that products take, one element in each.
template <typename S>
struct FloatWords {
  using Storage = S;
  using Multiply = MultiplyF32;
  static constexpr bool pairs = false;
  static constexpr Packing packing = sizeof(S) == 4                ? Packing::f32
                                     : __is_same(S, std::uint16_t) ? Packing::bf16_as_f32
                                                                   : Packing::f16_as_f32;
};

/// Words that hold `count` elements of a summed dimension.
template <typename W>
DSTRAIN_INLINE constexpr std::int64_t words_for(std::int64_t count) {
  return W::pairs ? (count + 1) / 2 : count;
}

/// C[tile_rows, vectors * lanes] = or += A B; strides of A as in multiply_panels.
template <typename Multiply, int a_row, int a_step, bool add, int vectors>
DSTRAIN_INLINE void block_tile(float* c, std::int64_t ldc, const float* a, const float* b, std::int64_t words) {
  VecF sum[tile_rows][vectors] = {};
  if constexpr (add) {
#pragma GCC unroll 8
    for (int r = 0; r < tile_rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sum[r][v] = load(c + r * ldc + v * lanes, Full{});
    }
  }
  multiply_panels<Multiply, a_row, a_step>(sum, a, b, words);
#pragma GCC unroll 8
  for (int r = 0; r < tile_rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) store(c + r * ldc + v * lanes, sum[r][v], Full{});
  }
}

/// All columns [0, columns) of a strip of tile_rows rows. Panel p of B stands at b + p * panel_words; C is wide enough
/// for `columns` rounded up to whole vectors.
template <typename Multiply, int a_row, int a_step, bool add>
__attribute__((noinline)) void strip_product(float* c, std::int64_t ldc, const float* a, const float* b,
                                             std::int64_t panel_words, std::int64_t columns, std::int64_t words) {
  for (; columns > 2 * lanes; columns -= tile_columns, c += tile_columns, b += panel_words) {
    block_tile<Multiply, a_row, a_step, add, 3>(c, ldc, a, b, words);
  }
  if (columns > lanes) {
    block_tile<Multiply, a_row, a_step, add, 2>(c, ldc, a, b, words);
  } else if (columns > 0) {
    block_tile<Multiply, a_row, a_step, add, 1>(c, ldc, a, b, words);
  }
}

/// Keys that the queries of a segment see: query a sees [first(a), end(a)).
struct Visible {
  std::int64_t shift;  ///< AttentionTask's
  std::int64_t keys;
  std::int64_t window;  ///< 0: none

  [[nodiscard]] DSTRAIN_INLINE std::int64_t end(std::int64_t a) const { return least(keys, shift + a + 1); }
  [[nodiscard]] DSTRAIN_INLINE std::int64_t first(std::int64_t a) const {
    return window > 0 ? most(0, shift + a + 1 - window) : 0;
  }
};

/// 0, 1, 2 ... in the lanes.
DSTRAIN_INLINE VecI lane_numbers() {
  VecI v;
  for (int i = 0; i < lanes; ++i) v[i] = i;
  return v;
}

/// What happens to scaled scores before the softmax beside the mask, for one query of one head.
struct Score {
  float slope;  ///< ALiBi
  float first;  ///< position of the block's first key less that of the query
  float cap;    ///< 0: none

  [[nodiscard]] DSTRAIN_INLINE static Score of(const AttentionTask& t, std::int64_t g, std::int64_t a,
                                               std::int64_t j0) {
    const std::int64_t distance = j0 - (t.shift + a);
    return {t.slopes != nullptr ? t.slopes[g] : 0.0F, static_cast<float>(distance), t.softcap};
  }
  /// tanh of the scaled scores over the cap.
  [[nodiscard]] DSTRAIN_INLINE VecF bent(VecF scaled) const { return tanh(scaled / cap); }
  /// The bias of columns j, j + 1, ... of the block.
  [[nodiscard]] DSTRAIN_INLINE VecF bias(std::int64_t j) const {
    const VecF column = __builtin_convertvector(lane_numbers() + static_cast<std::int32_t>(j), VecF);
    return (column + first) * slope;
  }
};

/// Whether scores are more than products: such tasks run code of their own, so that the usual one stays short.
DSTRAIN_INLINE bool is_plain(const AttentionTask& t) {
  return t.slopes == nullptr && t.softcap == 0.0F && t.dropout == nullptr;
}

/// All bits of the lanes whose column at + lane lies in [first, end); columns count from the block's first key.
DSTRAIN_INLINE VecI in_range(std::int64_t at, std::int64_t first, std::int64_t end) {
  const VecI column = lane_numbers() + static_cast<std::int32_t>(at);
  return (column >= static_cast<std::int32_t>(first)) & (column < static_cast<std::int32_t>(end));
}

}  // namespace
}  // namespace dstrain::cpu::DSTRAIN_ISA
