// SPDX-License-Identifier: Apache-2.0
/// Attention backward: scores are computed again from q, k and the kept log-sum-exp (Dao, arXiv:2307.08691, algorithm
/// 2).
///
/// p = exp(scale q.k - lse), dp = dout.v, ds = scale p (dp - dout.out); dq = ds K, dk = ds^T Q, dv = p^T dout. Blocks
/// of queries run over blocks of keys; dk and dv of the whole segment are summed in f32, in one order. Only for the
/// files compiled once per instruction set.
#pragma once

#include "kernels/cpu/simd/attention_gradient_rows.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

constexpr std::int64_t query_block = 128;
static_assert(query_block % tile_rows == 0 && key_block % tile_rows == 0);

/// Where the parts of the backward workspace begin. "panels of x over y": B of a product that sums over y.
struct BackwardSpace {
  float* keys_by_dim;    ///< panels of keys over head_dim
  float* values_by_dim;  ///< panels of keys over head_dim
  float* keys;           ///< panels of head_dim over keys
  float* dk;             ///< [keys][padded dim]
  float* dv;
  float* q_rows;  ///< strips of queries over head_dim: A of q k^T
  float* dout_rows;
  float* q;  ///< panels of head_dim over queries
  float* dout;
  float* dq;  ///< [queries][padded dim]
  float* p;   ///< [queries][key_block]; words of pairs: one strip
  float* ds;
  float* p_pairs;  ///< [queries / 2][key_block]: two queries in a word
  float* ds_pairs;
  float* ds_rows;  ///< [tile_rows][key_block / 2]: two keys in a word
  float* delta;    ///< dout . out of each query
};

/// Lays the parts out one after the other and returns their length in floats.
DSTRAIN_INLINE std::int64_t lay_out(BackwardSpace& s, float* at, std::int64_t n_k, std::int64_t head_dim) {
  const float* begin = at;
  const std::int64_t dim = padded_dim(head_dim);
  const std::int64_t padded_keys = round_up(n_k, key_block);
  const auto take = [&](float*& part, std::int64_t words) {
    part = at;
    at += words;
  };
  take(s.keys_by_dim, padded_keys * head_dim);
  take(s.values_by_dim, padded_keys * head_dim);
  take(s.keys, n_k * dim);
  take(s.dk, padded_keys * dim);
  take(s.dv, padded_keys * dim);
  take(s.q_rows, query_block * head_dim);
  take(s.dout_rows, query_block * head_dim);
  take(s.q, query_block * dim);
  take(s.dout, query_block * dim);
  take(s.dq, query_block * dim);
  take(s.p, query_block * key_block);
  take(s.ds, query_block * key_block);
  take(s.p_pairs, query_block / 2 * key_block);
  take(s.ds_pairs, query_block / 2 * key_block);
  take(s.ds_rows, tile_rows * key_block / 2);
  take(s.delta, query_block);
  return at - begin;
}

DSTRAIN_INLINE void zero(float* x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += lanes) store(x + i, VecF{}, Full{});
}

/// Panels of head_dim over the rows of x.
template <typename W>
DSTRAIN_INLINE void pack_by_rows(float* dst, const typename W::Storage* x, std::int64_t stride, std::int64_t rows,
                                 std::int64_t head_dim) {
  for (std::int64_t d = 0; d < head_dim; d += tile_columns) {
    pack_along_width<W::packing, tile_columns>(dst + d * words_for<W>(rows),
                                               {x + d, stride, least(tile_columns, head_dim - d), rows});
  }
}

template <typename W>
DSTRAIN_FLATTEN void load_keys(const AttentionTask& t, const BackwardSpace& s) {
  using S = typename W::Storage;
  const S* k = static_cast<const S*>(t.k);
  const S* v = static_cast<const S*>(t.v);
  pack_along_k<W::packing, tile_columns>(s.keys_by_dim, {k, t.kv_stride, t.n_k, t.head_dim});
  pack_along_k<W::packing, tile_columns>(s.values_by_dim, {v, t.kv_stride, t.n_k, t.head_dim});
  pack_by_rows<W>(s.keys, k, t.kv_stride, t.n_k, t.head_dim);
  const std::int64_t words = round_up(t.n_k, key_block) * padded_dim(t.head_dim);
  zero(s.dk, words);
  zero(s.dv, words);
}

template <typename W>
DSTRAIN_FLATTEN void load_queries(const AttentionTask& t, const AttentionGradients& gradients, const BackwardSpace& s,
                                  const Block& b) {
  using S = typename W::Storage;
  const S* q = static_cast<const S*>(t.q) + b.a0 * t.q_stride + b.g * t.head_dim;
  const S* out = static_cast<const S*>(t.out) + b.a0 * t.out_stride + b.g * t.head_dim;
  const S* dout = static_cast<const S*>(gradients.dout) + b.a0 * t.out_stride + b.g * t.head_dim;
  pack_along_k<W::packing, tile_rows>(s.q_rows, {q, t.q_stride, b.rows, t.head_dim});
  pack_along_k<W::packing, tile_rows>(s.dout_rows, {dout, t.out_stride, b.rows, t.head_dim});
  pack_by_rows<W>(s.q, q, t.q_stride, b.rows, t.head_dim);
  pack_by_rows<W>(s.dout, dout, t.out_stride, b.rows, t.head_dim);
  for (std::int64_t r = 0; r < b.rows; ++r) {
    s.delta[r] = sum_over(t.head_dim, [&](std::int64_t d, auto part) {
      return load(dout + r * t.out_stride + d, part) * load(out + r * t.out_stride + d, part);
    });
  }
  zero(s.dq, round_up(b.rows, tile_rows) * padded_dim(t.head_dim));
}

/// Where p and ds of the strip of queries at i of a block are made.
template <typename W>
DSTRAIN_INLINE std::int64_t strip_at(std::int64_t i) {
  return W::pairs ? 0 : i * key_block;
}

/// Columns of a block that some query of a strip sees, in whole panels and vectors.
struct StripColumns {
  std::int64_t from;
  std::int64_t to;     ///< no column: not above from
  std::int64_t width;  ///< of the block

  DSTRAIN_INLINE StripColumns(const Visible& visible, const Block& b, std::int64_t i, std::int64_t rows)
      : width(round_up(b.columns, lanes)) {
    from = least(most(visible.first(b.a0 + i) - b.j0, 0) / tile_columns * tile_columns, width);
    const std::int64_t end = least(visible.end(b.a0 + i + rows - 1) - b.j0, b.columns);
    to = most(from, round_up(most(end, 0), lanes));
  }
};

/// Makes p and ds of one strip; what lies outside its columns is zero for the products over queries.
template <typename W>
DSTRAIN_INLINE void strip_scores(const AttentionTask& t, const BackwardSpace& s, const Block& b, std::int64_t i,
                                 std::int64_t rows, const StripColumns& columns) {
  const Visible visible{t.shift, t.n_k, t.window};
  float* p = s.p + strip_at<W>(i);
  float* ds = s.ds + strip_at<W>(i);
  const std::int64_t from = columns.from;
  const std::int64_t to = columns.to;
  for (std::int64_t r = 0; r < tile_rows; ++r) {
    zero(p + r * key_block, from);
    zero(ds + r * key_block, from);
    zero(p + r * key_block + to, columns.width - to);
    zero(ds + r * key_block + to, columns.width - to);
  }
  if (from >= to) return;
  using Multiply = typename W::Multiply;
  const std::int64_t dim_words = words_for<W>(t.head_dim);
  const std::int64_t panel_words = tile_columns * dim_words;
  const std::int64_t at = (b.j0 + from) * dim_words;
  strip_product<Multiply, 1, tile_rows, false>(p + from, key_block, s.q_rows + i * dim_words, s.keys_by_dim + at,
                                               panel_words, to - from, dim_words);
  strip_product<Multiply, 1, tile_rows, false>(ds + from, key_block, s.dout_rows + i * dim_words, s.values_by_dim + at,
                                               panel_words, to - from, dim_words);
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t a = b.a0 + i + r;
    const std::int64_t first = visible.first(a) - b.j0;
    const std::int64_t row_end = least(visible.end(a) - b.j0, b.columns);
    if (is_plain(t)) {
      gradient_row(p + r * key_block, ds + r * key_block, from, to, first, row_end, t.scale,
                   t.lse[b.g * t.lse_stride + a], s.delta[i + r]);
    } else {
      special_gradient_row(t, b, a, p + r * key_block, ds + r * key_block, from, to, first, row_end, s.delta[i + r]);
    }
  }
}

/// p and ds of one strip, and what it adds to dq.
template <typename W>
DSTRAIN_FLATTEN void strip_gradients(const AttentionTask& t, const BackwardSpace& s, const Block& b, std::int64_t i) {
  const std::int64_t rows = least(tile_rows, b.rows - i);
  const StripColumns columns(Visible{t.shift, t.n_k, t.window}, b, i, rows);
  strip_scores<W>(t, s, b, i, rows, columns);
  if constexpr (W::pairs) {
    W::pair_rows(s.p_pairs + i / 2 * key_block, s.p, key_block, columns.width);
    W::pair_rows(s.ds_pairs + i / 2 * key_block, s.ds, key_block, columns.width);
  }
  if (columns.from >= columns.to) return;
  using Multiply = typename W::Multiply;
  const std::int64_t dim = padded_dim(t.head_dim);
  float* dq = s.dq + i * dim;
  const float* keys = s.keys + words_for<W>(b.j0 + columns.from) * tile_columns;
  const std::int64_t panel_words = words_for<W>(t.n_k) * tile_columns;
  const std::int64_t count = least(columns.to, b.columns) - columns.from;
  if constexpr (W::pairs) {
    for (std::int64_t r = 0; r < tile_rows; ++r)
      W::narrow_row(s.ds_rows + r * (key_block / 2), s.ds + r * key_block + columns.from, count);
    strip_product<Multiply, key_block / 2, 1, true>(dq, dim, s.ds_rows, keys, panel_words, t.head_dim,
                                                    words_for<W>(count));
  } else {
    strip_product<Multiply, key_block, 1, true>(dq, dim, s.ds + i * key_block + columns.from, keys, panel_words,
                                                t.head_dim, count);
  }
}

/// What the block adds to dk and dv: products over its queries, those that see no key of a strip left out.
template <typename W>
DSTRAIN_FLATTEN void add_to_keys(const AttentionTask& t, const BackwardSpace& s, const Block& b) {
  using Multiply = typename W::Multiply;
  const Visible visible{t.shift, t.n_k, t.window};
  const std::int64_t dim = padded_dim(t.head_dim);
  const float* p = W::pairs ? s.p_pairs : s.p;
  const float* ds = W::pairs ? s.ds_pairs : s.ds;
  for (std::int64_t r = 0; r < b.columns; r += tile_rows) {
    const std::int64_t first_query = b.j0 + r - visible.shift - b.a0;  // the first query that sees key r
    const std::int64_t begin = most(first_query, 0) / tile_rows * tile_rows;
    std::int64_t count = b.rows - begin;
    if (t.window > 0) count = least(b.rows, first_query + tile_rows - 1 + t.window) - begin;
    if (count <= 0) continue;
    const std::int64_t at = (b.j0 + r) * dim;
    const std::int64_t from = words_for<W>(begin) * key_block + r;
    const std::int64_t in_panel = words_for<W>(begin) * tile_columns;
    const std::int64_t panel_words = words_for<W>(b.rows) * tile_columns;
    strip_product<Multiply, 1, key_block, true>(s.dv + at, dim, p + from, s.dout + in_panel, panel_words, t.head_dim,
                                                words_for<W>(count));
    strip_product<Multiply, 1, key_block, true>(s.dk + at, dim, ds + from, s.q + in_panel, panel_words, t.head_dim,
                                                words_for<W>(count));
  }
}

/// Rows of f32 into the storage type.
template <typename S>
DSTRAIN_INLINE void write_rows(void* to, std::int64_t stride, const float* from, std::int64_t from_stride,
                               std::int64_t rows, std::int64_t count) {
  for (std::int64_t r = 0; r < rows; ++r) {
    S* row = static_cast<S*>(to) + r * stride;
    for_lanes(count,
              [&](std::int64_t d, auto part) { store(row + d, load(from + r * from_stride + d, Full{}), part); });
  }
}

template <typename W>
DSTRAIN_FLATTEN void backward(const AttentionTask& t, const AttentionGradients& gradients) {
  using S = typename W::Storage;
  BackwardSpace s{};
  lay_out(s, t.workspace, t.n_k, t.head_dim);
  const Visible visible{t.shift, t.n_k, t.window};
  const std::int64_t dim = padded_dim(t.head_dim);
  load_keys<W>(t, s);
  for (std::int64_t g = 0; g < t.group; ++g) {
    for (std::int64_t a0 = 0; a0 < t.n_q; a0 += query_block) {
      Block b{g, a0, least(query_block, t.n_q - a0), 0, 0};
      load_queries<W>(t, gradients, s, b);
      const std::int64_t end = least(t.n_k, visible.end(a0 + b.rows - 1));
      for (b.j0 = visible.first(a0) / key_block * key_block; b.j0 < end; b.j0 += key_block) {
        b.columns = least(key_block, end - b.j0);
        for (std::int64_t i = 0; i < b.rows; i += tile_rows) strip_gradients<W>(t, s, b, i);
        add_to_keys<W>(t, s, b);
      }
      S* dq = static_cast<S*>(gradients.dq) + a0 * t.q_stride + g * t.head_dim;
      write_rows<S>(dq, t.q_stride, s.dq, dim, b.rows, t.head_dim);
    }
  }
  write_rows<S>(gradients.dk, t.kv_stride, s.dk, dim, t.n_k, t.head_dim);
  write_rows<S>(gradients.dv, t.kv_stride, s.dv, dim, t.n_k, t.head_dim);
}

}  // namespace
}  // namespace dstrain::cpu::DSTRAIN_ISA
