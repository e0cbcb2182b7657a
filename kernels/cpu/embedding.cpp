// SPDX-License-Identifier: Apache-2.0
/// Rows of the embedding table: gathered by token, summed back by column.
#include <cstring>

#include "core/parallel.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/simd/functions.hpp"

namespace dstrain::cpu {

namespace {
constexpr IsaTables<ElementwiseFunctions> tables = DSTRAIN_ISA_TABLES(elementwise);
}

void embedding_forward(const Exec& /*exec*/, Data y_TD, ConstData table_VD, const std::int32_t* ids_T, std::int64_t T,
                       std::int64_t D) {
  if (y_TD.dtype != table_VD.dtype) {
    throw ShapeError(
        fmt::format("embedding_forward copies rows: {} cannot hold {}", name_of(y_TD.dtype), name_of(table_VD.dtype)));
  }
  const std::size_t row_bytes = static_cast<std::size_t>(D) * size_of(y_TD.dtype);
  parallel_for(T, rows_grain(D), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      std::memcpy(y_TD.at(t * D).data, table_VD.at(ids_T[t] * D).data, row_bytes);
  });
}

void embedding_backward(const Exec& exec, float* dtable_VD, ConstData dy_TD, const std::int32_t* ids_T, std::int64_t T,
                        std::int64_t D, std::int64_t V, bool accumulate) {
  const auto sum = tables.get().add_to_f32[storage_index(dy_TD.dtype, "embedding_backward")];
  if (!accumulate) fill_zero(exec, {dtable_VD, DType::f32}, V * D);
  // Threads own columns and walk all tokens: each element meets its tokens in ascending order, and no two threads meet.
  // 32 columns keep them off each other's cache lines.
  const std::int64_t grain = (rows_grain(T) + 31) / 32 * 32;
  parallel_for(D, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = 0; t < T; ++t)
      sum(dtable_VD + ids_T[t] * D + begin, dy_TD.at(t * D + begin).data, end - begin);
  });
}

}  // namespace dstrain::cpu
