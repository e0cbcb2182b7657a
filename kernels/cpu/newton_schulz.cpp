// SPDX-License-Identifier: Apache-2.0
/// The ends of a Newton-Schulz iteration on the CPU.
#include "kernels/ops/newton_schulz.hpp"

#include <cmath>

#include "core/parallel.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/check.hpp"

namespace dstrain::cpu {

namespace {

constexpr std::int64_t rows_per_task = 16;
constexpr float norm_eps = 1e-7F;

void check_bf16(DType dtype, const char* operation) {
  if (dtype != DType::bf16) throw ShapeError(fmt::format("{} on {}", operation, name_of(dtype)));
}

}  // namespace

void unit_matrix(const Exec& /*exec*/, Data x, const float* matrix, std::int64_t rows, std::int64_t columns,
                 bool transposed) {
  check_bf16(x.dtype, "unit_matrix");
  auto* out = x.as<bfloat16>();
  const std::int64_t m = transposed ? columns : rows;
  const std::int64_t n = transposed ? rows : columns;
  parallel_for(m, rows_per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      for (std::int64_t c = 0; c < n; ++c) out[r * n + c] = bfloat16(matrix[transposed ? c * columns + r : r * n + c]);
    }
  });
  double squares = 0.0;  // one thread: the order of the sum is fixed, and five rounds of products cost far more
  for (std::int64_t i = 0; i < m * n; ++i) {
    const auto v = static_cast<double>(static_cast<float>(out[i]));
    squares += v * v;
  }
  const bfloat16 norm(static_cast<float>(std::sqrt(squares)));
  const auto divisor = static_cast<float>(bfloat16(static_cast<float>(norm) + norm_eps));
  parallel_for(m, rows_per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * n; i < end * n; ++i) out[i] = bfloat16(static_cast<float>(out[i]) / divisor);
  });
}

std::int64_t unit_matrix_workspace_bytes() { return 0; }

void widen_matrix(const Exec& /*exec*/, float* matrix, ConstData x, std::int64_t rows, std::int64_t columns,
                  bool transposed) {
  check_bf16(x.dtype, "widen_matrix");
  const auto* in = x.as<bfloat16>();
  parallel_for(rows, rows_per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      for (std::int64_t c = 0; c < columns; ++c)
        matrix[r * columns + c] = static_cast<float>(in[transposed ? c * rows + r : r * columns + c]);
    }
  });
}

}  // namespace dstrain::cpu
