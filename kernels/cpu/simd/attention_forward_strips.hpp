// SPDX-License-Identifier: Apache-2.0
/// Attention forward: strips of queries run over blocks of keys with a running maximum and sum (Rabe and Staats,
/// arXiv:2112.05682; Dao, arXiv:2307.08691). Only for the files compiled once per instruction set.
#pragma once

#include "kernels/cpu/simd/attention_tiles.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

constexpr float minus_infinity = -__builtin_inff();

/// Where the parts of the forward workspace begin.
struct ForwardSpace {
  float* keys;    ///< K, panels of keys, each over head_dim
  float* values;  ///< V, panels of head_dim, each over the keys
  float* q;       ///< one strip of Q
  float* scores;  ///< one strip, key_block wide
  float* narrow;  ///< the same in words of pairs, key_block / 2 wide
  float* out;     ///< one strip, head_dim wide
};

/// Lays the parts out one after the other and returns their length in floats. Room for words of one element.
DSTRAIN_INLINE std::int64_t lay_out(ForwardSpace& s, float* at, std::int64_t n_k, std::int64_t head_dim) {
  const float* begin = at;
  const std::int64_t dim = padded_dim(head_dim);
  const auto take = [&](float*& part, std::int64_t words) {
    part = at;
    at += words;
  };
  take(s.keys, round_up(n_k, tile_columns) * head_dim);
  take(s.values, n_k * dim);
  take(s.q, tile_rows * head_dim);
  take(s.scores, tile_rows * key_block);
  take(s.narrow, tile_rows * key_block / 2);
  take(s.out, tile_rows * dim);
  return at - begin;
}

/// What a strip keeps while it runs over the keys.
struct Running {
  float greatest[tile_rows];
  float sum[tile_rows];
};

/// Turns one row of scores into exp(scale * score - greatest), zero outside [first, end); returns the factor by which
/// what was summed before shrinks.
template <bool plain>
DSTRAIN_INLINE float softmax_row(float* row, std::int64_t columns, std::int64_t first, std::int64_t end, float scale,
                                 const Score& score, float& greatest, float& sum) {
  const bool whole = first <= 0 && end >= columns;
  VecF top = broadcast(minus_infinity);
  for (std::int64_t j = 0; j < columns; j += lanes) {
    VecF x = load(row + j, Full{}) * scale;
    if (!plain) x = (score.cap > 0.0F ? score.cap * score.bent(x) : x) + score.bias(j);
    if (!whole || j + lanes > columns) x = in_range(j, first, least(end, columns)) != 0 ? x : broadcast(minus_infinity);
    store(row + j, x, Full{});
    top = max(x, top);
  }
  const float new_greatest = __builtin_fmaxf(greatest, DSTRAIN_ISA::greatest(top));
  if (new_greatest == minus_infinity) {  // nothing visible so far: exp(-inf - -inf) would be NaN
    for (std::int64_t j = 0; j < columns; j += lanes) store(row + j, VecF{}, Full{});
    return 1.0F;
  }
  VecF total = {};
  for (std::int64_t j = 0; j < columns; j += lanes) {
    const VecF p = exp(load(row + j, Full{}) - new_greatest);
    store(row + j, p, Full{});
    total += p;
  }
  float shrink[lanes];
  store(shrink, exp(broadcast(greatest - new_greatest)), Full{});
  sum = sum * shrink[0] + DSTRAIN_ISA::sum(total);
  greatest = new_greatest;
  return shrink[0];
}

/// Drops weights of one row; the sum of the softmax holds all of them.
DSTRAIN_INLINE void drop(const AttentionTask& t, float* row, std::int64_t columns, std::int64_t g, std::int64_t a,
                         std::int64_t j0) {
  float factors[key_block];
  t.dropout(factors, t, g, a, j0, columns);
  for_lanes(columns,
            [&](std::int64_t j, auto part) { store(row + j, load(row + j, part) * load(factors + j, part), part); });
}

/// One block of keys [j0, j0 + columns) for the strip of queries at a0.
template <typename W, bool plain>
DSTRAIN_INLINE void add_block(const AttentionTask& t, const ForwardSpace& s, const Visible& visible, Running& running,
                              std::int64_t g, std::int64_t a0, std::int64_t rows, std::int64_t j0,
                              std::int64_t columns) {
  using Multiply = typename W::Multiply;
  const std::int64_t dim_words = words_for<W>(t.head_dim);
  strip_product<Multiply, 1, tile_rows, false>(s.scores, key_block, s.q, s.keys + j0 * dim_words,
                                               tile_columns * dim_words, columns, dim_words);
  const std::int64_t dim = padded_dim(t.head_dim);
  for (std::int64_t r = 0; r < rows; ++r) {
    float* row = s.scores + r * key_block;
    const float shrink = softmax_row<plain>(row, columns, visible.first(a0 + r) - j0, visible.end(a0 + r) - j0, t.scale,
                                            Score::of(t, g, a0 + r, j0), running.greatest[r], running.sum[r]);
    if (!plain && t.dropout != nullptr) drop(t, row, columns, g, a0 + r, j0);
    if (shrink == 1.0F) continue;
    for (std::int64_t d = 0; d < t.head_dim; d += lanes) {
      float* out = s.out + r * dim + d;
      store(out, load(out, Full{}) * shrink, Full{});
    }
  }
  const float* values = s.values + words_for<W>(j0) * tile_columns;
  const std::int64_t panel_words = words_for<W>(t.n_k) * tile_columns;
  if constexpr (W::pairs) {
    for (std::int64_t r = 0; r < tile_rows; ++r)
      W::narrow_row(s.narrow + r * (key_block / 2), s.scores + r * key_block, columns);
    strip_product<Multiply, key_block / 2, 1, true>(s.out, dim, s.narrow, values, panel_words, t.head_dim,
                                                    words_for<W>(columns));
  } else {
    strip_product<Multiply, key_block, 1, true>(s.out, dim, s.scores, values, panel_words, t.head_dim, columns);
  }
}

template <typename S>
DSTRAIN_INLINE void write_strip(const AttentionTask& t, const ForwardSpace& s, const Running& running, std::int64_t g,
                                std::int64_t a0, std::int64_t rows) {
  for (std::int64_t r = 0; r < rows; ++r) {
    S* out = static_cast<S*>(t.out) + (a0 + r) * t.out_stride + g * t.head_dim;
    const float* from = s.out + r * padded_dim(t.head_dim);
    const float factor = running.sum[r] > 0 ? 1.0F / running.sum[r] : 0.0F;
    for_lanes(t.head_dim, [&](std::int64_t d, auto part) { store(out + d, load(from + d, Full{}) * factor, part); });
    if (t.lse != nullptr) {
      t.lse[g * t.lse_stride + a0 + r] =
          running.sum[r] > 0 ? running.greatest[r] + __builtin_logf(running.sum[r]) : minus_infinity;
    }
  }
}

template <typename W, bool plain>
DSTRAIN_FLATTEN void forward_strip(const AttentionTask& t, const ForwardSpace& s, std::int64_t g, std::int64_t a0) {
  using S = typename W::Storage;
  const Visible visible{t.shift, t.n_k, t.window};
  const std::int64_t rows = least(tile_rows, t.q_end - a0);
  const S* q = static_cast<const S*>(t.q) + a0 * t.q_stride + g * t.head_dim;
  pack_along_k<W::packing, tile_rows>(s.q, {q, t.q_stride, rows, t.head_dim});
  for (std::int64_t i = 0; i < tile_rows * padded_dim(t.head_dim); i += lanes) store(s.out + i, VecF{}, Full{});
  Running running;
  for (int r = 0; r < tile_rows; ++r) running.greatest[r] = minus_infinity, running.sum[r] = 0;
  const std::int64_t end = least(t.n_k, visible.end(a0 + rows - 1));
  const std::int64_t begin = visible.first(a0) / tile_columns * tile_columns;
  for (std::int64_t j0 = begin; j0 < end; j0 += key_block)
    add_block<W, plain>(t, s, visible, running, g, a0, rows, j0, least(key_block, end - j0));
  write_strip<S>(t, s, running, g, a0, rows);
}

template <typename W>
void forward(const AttentionTask& t) {
  using S = typename W::Storage;
  ForwardSpace s{};
  lay_out(s, t.workspace, t.n_k, t.head_dim);
  const std::int64_t end = least(t.n_k, t.shift + t.q_end);  // the keys that the last of these queries sees
  pack_along_k<W::packing, tile_columns>(s.keys, {t.k, t.kv_stride, most(end, 0), t.head_dim});
  // Panels are n_k long, whatever part of them is filled.
  for (std::int64_t d = 0; d < t.head_dim; d += tile_columns) {
    const PackSource part{static_cast<const S*>(t.v) + d, t.kv_stride, least(tile_columns, t.head_dim - d),
                          most(end, 0)};
    pack_along_width<W::packing, tile_columns>(s.values + d * words_for<W>(t.n_k), part);
  }
  for (std::int64_t g = 0; g < t.group; ++g) {
    for (std::int64_t a = t.q_begin; a < t.q_end; a += tile_rows)
      is_plain(t) ? forward_strip<W, true>(t, s, g, a) : forward_strip<W, false>(t, s, g, a);
  }
}

}  // namespace
}  // namespace dstrain::cpu::DSTRAIN_ISA
