// SPDX-License-Identifier: Apache-2.0
/// Column sums of a row-major matrix: the gradient of a bias.
#include "kernels/cpu/simd/functions.hpp"
#include "kernels/cpu/simd/vec.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

// A strip is read row after row, wide enough for the prefetcher; its sums stay in the first-level cache. Rows are
// summed in blocks, the blocks then: the error grows with rows_per_block + T / rows_per_block, not with T.
constexpr std::int64_t strip = 512;
constexpr std::int64_t rows_per_block = 64;

template <typename S>
DSTRAIN_INLINE void add_row(float* sums, const S* row, std::int64_t width) {
  for_lanes(width,
            [&](std::int64_t i, auto part) { store(sums + i, load(sums + i, part) + load(row + i, part), part); });
}

template <typename S>
DSTRAIN_FLATTEN void backward_columns(float* db, const void* dy_void, std::int64_t T, std::int64_t begin,
                                      std::int64_t end, std::int64_t ldy, bool accumulate) {
  const S* dy = static_cast<const S*>(dy_void);
  for (std::int64_t n = begin; n < end; n += strip) {
    const std::int64_t width = end - n < strip ? end - n : strip;
    alignas(64) float total[strip];
    __builtin_memset(total, 0, sizeof total);
    for (std::int64_t t = 0; t < T; t += rows_per_block) {
      const std::int64_t stop = t + rows_per_block < T ? t + rows_per_block : T;
      alignas(64) float block[strip];
      __builtin_memset(block, 0, sizeof block);
      for (std::int64_t row = t; row < stop; ++row) add_row(block, dy + row * ldy + n, width);
      add_row(total, block, width);
    }
    for_lanes(width, [&](std::int64_t i, auto part) {
      VecF v = load(total + i, part);
      if (accumulate) v += load(db + n + i, part);
      store(db + n + i, v, part);
    });
  }
}

}  // namespace

const BiasFunctions bias = {{backward_columns<float>, backward_columns<std::uint16_t>, backward_columns<Half>}};

}  // namespace dstrain::cpu::DSTRAIN_ISA
