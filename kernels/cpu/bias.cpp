// SPDX-License-Identifier: Apache-2.0
/// Biases on the CPU: added by rows, summed back by columns.
#include "core/parallel.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/simd/functions.hpp"

namespace dstrain::cpu {

namespace {
constexpr IsaTables<ElementwiseFunctions> elementwise_tables = DSTRAIN_ISA_TABLES(elementwise);
constexpr IsaTables<BiasFunctions> tables = DSTRAIN_ISA_TABLES(bias);
}  // namespace

void add_bias(const Exec& /*exec*/, Data y_TN, ConstData bias_N, std::int64_t T, std::int64_t N, std::int64_t ldy) {
  const auto sum = elementwise_tables.get().add[storage_index({y_TN.dtype, bias_N.dtype}, "add_bias")];
  parallel_for(T, rows_grain(N), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) sum(y_TN.at(t * ldy).data, bias_N.data, N);
  });
}

void matmul_bias(const Exec& exec, Data c, ConstData a, ConstData b, ConstData bias_N, const MatmulShape& shape) {
  matmul(exec, c, a, b, shape, false);
  add_bias(exec, c, bias_N, shape.M, shape.N, shape.ldc == 0 ? shape.N : shape.ldc);
}

void bias_backward(const Exec& /*exec*/, float* db_N, ConstData dy_TN, std::int64_t T, std::int64_t N, std::int64_t ldy,
                   bool accumulate) {
  const auto sum_columns = tables.get().backward_columns[storage_index(dy_TN.dtype, "bias_backward")];
  const std::int64_t grain = (rows_grain(T) + 31) / 32 * 32;
  parallel_for(N, grain, [&](std::int64_t begin, std::int64_t end) {
    sum_columns(db_N, dy_TN.data, T, begin, end, ldy, accumulate);
  });
}

}  // namespace dstrain::cpu
