// SPDX-License-Identifier: Apache-2.0
/// What forward and backward of attention share: segments, scores, tiles in shared memory.
#pragma once

#include "kernels/cuda/tiles.cuh"
#include "kernels/ops/attention.hpp"

namespace dstrain::DSTRAIN_KERNELS {

/// Where one segment lies; in device memory.
struct Segment {
  std::int32_t q_begin;
  std::int32_t n_q;
  std::int32_t k_begin;
  std::int32_t n_k;    ///< that are seen
  std::int32_t shift;  ///< query a stands at key shift + a
};

/// An AttentionShape without host pointers, and the storage of the operands as rows.
struct AttentionSizes {
  std::int64_t T;
  const Segment* segments;
  std::int32_t tiles;  ///< of the longest segment: blocks (segment, tile) are numbered segment * tiles + tile
  std::int64_t kv_heads;
  std::int64_t group;  ///< query heads of a key/value head
  std::int32_t head_dim;
  std::int64_t q_stride;
  std::int64_t kv_stride;
  std::int64_t out_stride;
  std::int64_t q_group;
  std::int64_t kv_head;
  float scale;
  std::int32_t window;
  const float* slopes;  ///< null: none
  float softcap;
  bool drops;
  double drop_limit;
  float kept;
  Rng::Key key;
  std::int32_t rows_q;  ///< queries of a tile
  std::int32_t rows_k;  ///< keys of a tile
};

/// Elements from one row of a tile to the next, for products along head_dim or along keys: rows begin in other banks.
DSTRAIN_DEVICE int padded_dim(int n) { return (n + tile_edge - 1) / tile_edge * tile_edge; }
template <typename S>
DSTRAIN_DEVICE int tile_stride(int n) {
  return padded_dim(n) + 16 / static_cast<int>(sizeof(S));
}

/// Column of the first element of a query head in a row of q.
DSTRAIN_DEVICE std::int64_t q_column(const AttentionSizes& s, std::int64_t head) {
  return head / s.group * s.q_group + head % s.group * s.head_dim;
}

/// Copies rows [begin, begin + rows) of a segment, `n` long, to shared memory; zeros behind its end and its head_dim.
template <typename S>
DSTRAIN_DEVICE void load_tile(S* tile, const S* from, std::int64_t stride, int begin, int rows, int n, int head_dim) {
  const int width = padded_dim(head_dim);
  const int ld = tile_stride<S>(head_dim);
  for (int i = static_cast<int>(threadIdx.x); i < rows * width; i += static_cast<int>(blockDim.x)) {
    const int r = i / width;
    const int d = i % width;
    S value;
    narrow(value, 0.0F);
    if (begin + r < n && d < head_dim) value = from[static_cast<std::int64_t>(begin + r) * stride + d];
    tile[r * ld + d] = value;
  }
}

/// A score and its derivative by scale * q.k.
struct Score {
  float value;
  float slope;
};

/// Query a of a segment sees keys [first, last]; `own` is the key at its position, seen or not.
struct Visible {
  int first;
  int last;
  int own;
};
DSTRAIN_DEVICE Visible visible_of(const AttentionSizes& s, const Segment& g, int a) {
  const int own = g.shift + a;
  const int first = s.window > 0 && own - s.window + 1 > 0 ? own - s.window + 1 : 0;
  return {first, own < g.n_k ? own : g.n_k - 1, own};
}

DSTRAIN_DEVICE Score score_of(const AttentionSizes& s, float product, std::int64_t head, int j, int own) {
  const float scaled = product * s.scale;
  Score score{scaled, 1.0F};
  if (s.softcap > 0.0F) {
    const float tanh = tanhf(scaled / s.softcap);
    score = {s.softcap * tanh, 1.0F - tanh * tanh};
  }
  if (s.slopes != nullptr) score.value += s.slopes[head] * static_cast<float>(j - own);
  return score;
}

/// 0 where the weight of key j is dropped, else what it is multiplied by.
DSTRAIN_DEVICE float dropout_factor(const AttentionSizes& s, std::int64_t head, std::int64_t t, int j) {
  if (!s.drops) return 1.0F;
  DeviceRng rng{s.key};
  // The site of a dropout is the step of its Rng (kernels/reference/dropout.hpp).
  rng.key.step += static_cast<std::uint32_t>(head);
  const std::uint64_t index = (static_cast<std::uint64_t>(t) << 24) + static_cast<std::uint64_t>(j);
  return static_cast<double>(rng.bits(index)) < s.drop_limit ? 0.0F : s.kept;
}

inline constexpr int attention_threads = 128;
inline constexpr float minus_infinity = -INFINITY;

/// The block's place: its segment, the first row of its tile, false where the segment has no such tile.
struct Place {
  Segment segment;
  int begin;
};
DSTRAIN_DEVICE Place place_of(const AttentionSizes& s, int rows) {
  const int index = static_cast<int>(blockIdx.x);
  // The last tiles see the most keys: they come first.
  return {s.segments[index / s.tiles], (s.tiles - 1 - index % s.tiles) * rows};
}

/// Keys [begin, end) that any of the queries [a0, a1) sees.
struct Range {
  int begin;
  int end;
};
DSTRAIN_DEVICE Range keys_of(const AttentionSizes& s, const Segment& g, int a0, int a1) {
  const int last = visible_of(s, g, a1 - 1).last;
  return {visible_of(s, g, a0).first / s.rows_k * s.rows_k, last + 1};
}

/// Hands out shared memory, each piece from a multiple of 128 bytes on.
struct SharedPieces {
  char* at;
  template <typename T>
  DSTRAIN_DEVICE T* take(int count) {
    T* piece = reinterpret_cast<T*>(at);
    at += (static_cast<std::int64_t>(count) * static_cast<std::int64_t>(sizeof(T)) + 127) / 128 * 128;
    return piece;
  }
};

}  // namespace dstrain::DSTRAIN_KERNELS
