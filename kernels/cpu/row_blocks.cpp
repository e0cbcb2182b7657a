// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/row_blocks.hpp"

namespace dstrain::cpu {

namespace {
constexpr IsaTables<BiasFunctions> column_sums = DSTRAIN_ISA_TABLES(bias);
}

void sum_row_blocks(float* total, const float* partial, std::int64_t T, std::int64_t count, std::int64_t width,
                    bool add) {
  const auto sum_columns = column_sums.get().backward_columns[0];
  parallel_for(count, rows_grain(blocks_of(T)), [&](std::int64_t begin, std::int64_t end) {
    sum_columns(total, partial, blocks_of(T), begin, end, width, add);
  });
}

}  // namespace dstrain::cpu
