// SPDX-License-Identifier: Apache-2.0
/// Transposition of a square of `lanes` x `lanes` words in registers. Only for the files compiled once per instruction
/// set.
#pragma once

#include <utility>

#include "kernels/cpu/simd/vec.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

/// Exchanges blocks of `step` lanes: `low` keeps its even blocks and takes the even blocks of `high` as its odd ones;
/// `high` keeps its odd blocks and takes the odd ones of `low`.
template <int step, int... i>
DSTRAIN_INLINE void exchange_blocks(VecF& low, VecF& high, std::integer_sequence<int, i...> /*lanes*/) {
  const VecF a = low;
  const VecF b = high;
  low = __builtin_shufflevector(a, b, ((i & step) != 0 ? lanes + i - step : i)...);
  high = __builtin_shufflevector(a, b, ((i & step) != 0 ? lanes + i : i + step)...);
}

template <int step>
DSTRAIN_INLINE void exchange_rows(VecF (&row)[lanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i) {
    if ((i & step) == 0) exchange_blocks<step>(row[i], row[i + step], std::make_integer_sequence<int, lanes>());
  }
}

/// row[i][j] <-> row[j][i], by exchanging ever smaller blocks. Eklundh, "A fast computer method for matrix transposing"
/// (1972).
DSTRAIN_INLINE void transpose(VecF (&row)[lanes]) {
  if constexpr (lanes >= 16) exchange_rows<8>(row);
  if constexpr (lanes >= 8) exchange_rows<4>(row);
  exchange_rows<2>(row);
  exchange_rows<1>(row);
}

}  // namespace
}  // namespace dstrain::cpu::DSTRAIN_ISA
