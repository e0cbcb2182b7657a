// SPDX-License-Identifier: Apache-2.0
/// From scores and dp to p and ds, one row of a block at a time. Only for the files compiled once per instruction set.
#pragma once

#include "kernels/cpu/simd/attention_tiles.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

/// A block of queries [a0, a0 + rows) of head g, and a block of keys [j0, j0 + columns).
struct Block {
  std::int64_t g;
  std::int64_t a0;
  std::int64_t rows;
  std::int64_t j0;
  std::int64_t columns;
};

/// Turns columns [from, to) of one row of scores and dp into p and ds; zero where the query does not see the key.
DSTRAIN_INLINE void gradient_row(float* p_row, float* ds_row, std::int64_t from, std::int64_t to, std::int64_t first,
                                 std::int64_t end, float scale, float lse, float delta) {
  for (std::int64_t j = from; j < to; j += lanes) {
    VecF p = exp(fma(load(p_row + j, Full{}), broadcast(scale), broadcast(-lse)));
    VecF ds = p * (load(ds_row + j, Full{}) - delta) * scale;
    if (j < first || j + lanes > end) {
      const VecI seen = in_range(j, first, end);
      p = seen != 0 ? p : VecF{};
      ds = seen != 0 ? ds : VecF{};
    }
    store(p_row + j, p, Full{});
    store(ds_row + j, ds, Full{});
  }
}

/// The same where scores are capped or biased, or weights dropped: p is what v is multiplied by, dropped weights left
/// out.
DSTRAIN_INLINE void special_gradient_row(const AttentionTask& t, const Block& b, std::int64_t a, float* p_row,
                                         float* ds_row, std::int64_t from, std::int64_t to, std::int64_t first,
                                         std::int64_t end, float delta) {
  const Score score = Score::of(t, b.g, a, b.j0);
  const float lse = t.lse[b.g * t.lse_stride + a];
  float factors[key_block];
  if (t.dropout != nullptr) t.dropout(factors, t, b.g, a, b.j0, key_block);
  for (std::int64_t j = from; j < to; j += lanes) {
    VecF x = load(p_row + j, Full{}) * t.scale;
    VecF slope = broadcast(t.scale);
    if (score.cap > 0.0F) {
      const VecF bent = score.bent(x);
      x = bent * score.cap;
      slope *= 1.0F - bent * bent;
    }
    VecF p = exp(x + score.bias(j) - lse);
    const VecF factor = t.dropout != nullptr ? load(factors + j, Full{}) : broadcast(1.0F);
    VecF ds = p * (load(ds_row + j, Full{}) * factor - delta) * slope;
    p *= factor;
    const VecI seen = in_range(j, first, end);
    p = seen != 0 ? p : VecF{};
    ds = seen != 0 ? ds : VecF{};
    store(p_row + j, p, Full{});
    store(ds_row + j, ds, Full{});
  }
}

}  // namespace
}  // namespace dstrain::cpu::DSTRAIN_ISA
