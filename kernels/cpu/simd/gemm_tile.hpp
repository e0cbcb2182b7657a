// SPDX-License-Identifier: Apache-2.0
/// One tile of C from packed panels, of any size up to the full one. Only for the files compiled once per instruction
/// set.
#pragma once

#include "kernels/cpu/simd/tile.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

template <typename Multiply, typename Part>
DSTRAIN_INLINE void store_vector(void* c, std::int64_t at, VecF sum, TileStore how, Part part) {
  float* f = static_cast<float*>(c) + at;
  switch (how) {
    case TileStore::write_f32:
      store(f, sum, part);
      break;
    case TileStore::add_f32:
      store(f, load(f, part) + sum, part);
      break;
    case TileStore::write_bf16:
      store(static_cast<std::uint16_t*>(c) + at, Multiply::narrow(sum), part);
      break;
    case TileStore::write_f16:
      store(static_cast<Half*>(c) + at, sum, part);
      break;
  }
}

/// Asks for the lines of C and of the sums while the product runs: they seldom are in a cache.
template <int rows>
DSTRAIN_INLINE void prefetch_tile(const void* c, std::int64_t row_bytes, int bytes) {
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    const char* row = static_cast<const char*>(c) + r * row_bytes;
    for (int line = 0; line < bytes; line += 64) __builtin_prefetch(row + line, 1);
    __builtin_prefetch(row + bytes - 1, 1);
  }
}

template <typename Multiply, int rows, int vectors>
DSTRAIN_FLATTEN void tile_of(void* c, std::int64_t ldc, const TileOperands& t, TileStore how) {
  const int element_bytes = how == TileStore::write_f32 || how == TileStore::add_f32 ? 4 : 2;
  prefetch_tile<rows>(c, ldc * element_bytes, t.columns * element_bytes);
  VecF sum[rows][vectors] = {};
  if (t.a_row_bytes != 0) {
    multiply_rows<Multiply>(sum, t.a, t.a_row_bytes, t.b, t.words);
  } else {
    multiply_panels<Multiply, 1, tile_rows>(sum, t.a, t.b, t.words);
  }
  const int in_last = t.columns - (vectors - 1) * lanes;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      const std::int64_t at = r * ldc + v * lanes;
      const bool whole = v + 1 < vectors || in_last == lanes;
      if (t.sums != nullptr) {
        const float* before = t.sums + r * t.sums_stride + v * lanes;
        sum[r][v] += whole ? load(before, Full{}) : load(before, Tail{in_last});
      }
      if (whole) {
        store_vector<Multiply>(c, at, sum[r][v], how, Full{});
      } else {
        store_vector<Multiply>(c, at, sum[r][v], how, Tail{in_last});
      }
    }
  }
}

using TileFunction = void (*)(void*, std::int64_t, const TileOperands&, TileStore);

/// tile_of by rows - 1 and vectors - 1, so that a tile at the edge costs what it holds.
template <typename Multiply>
constexpr TileFunction tile_functions[8][3] = {
#define DSTRAIN_TILE_ROW(R) \
  { tile_of<Multiply, R, 1>, tile_of<Multiply, R, 2>, tile_of<Multiply, R, 3> }
    DSTRAIN_TILE_ROW(1), DSTRAIN_TILE_ROW(2), DSTRAIN_TILE_ROW(3), DSTRAIN_TILE_ROW(4),
#if defined(__AVX512F__)
    DSTRAIN_TILE_ROW(5), DSTRAIN_TILE_ROW(6), DSTRAIN_TILE_ROW(7), DSTRAIN_TILE_ROW(8),
#endif
#undef DSTRAIN_TILE_ROW
};

/// See GemmFunctions::tile_f32.
template <typename Multiply>
void multiply_tile(void* c, std::int64_t ldc, const TileOperands& t, TileStore how) {
  tile_functions<Multiply>[t.rows - 1][(t.columns - 1) / lanes](c, ldc, t, how);
}

}  // namespace
}  // namespace dstrain::cpu::DSTRAIN_ISA
