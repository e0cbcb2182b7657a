// SPDX-License-Identifier: Apache-2.0
#include "zero/newton_schulz.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/parallel.hpp"
#include "kernels/ops/elementwise.hpp"
#include "kernels/ops/matmul.hpp"

namespace dstrain {

namespace {

constexpr float factor_a = 3.4445F;
constexpr float factor_b = -4.7750F;
constexpr float factor_c = 2.0315F;
constexpr float norm_eps = 1e-7F;
constexpr std::int64_t rows_per_task = 16;

/// The three products: X X^T, (cA) A and B X.
std::array<MatmulShape, 3> products(std::int64_t m, std::int64_t n) {
  return {{{m, m, n, false, true}, {m, m, m, false, false}, {m, n, m, false, false}}};
}

/// Row r, column c of the iterate; the matrix itself, or its transpose where it is tall.
struct Source {
  const float* matrix;
  std::int64_t columns;
  bool tall;
  [[nodiscard]] float at(std::int64_t r, std::int64_t c) const {
    return tall ? matrix[c * columns + r] : matrix[r * columns + c];
  }
};

/// x = source / (|source| + eps) as bf16 arithmetic has it: the norm of the rounded elements, rounded.
void normalise(bfloat16* x, const Source& source, std::int64_t m, std::int64_t n) {
  parallel_for(m, rows_per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      for (std::int64_t c = 0; c < n; ++c) x[r * n + c] = bfloat16(source.at(r, c));
    }
  });
  double squares = 0.0;  // one thread: the order of the sum is fixed, and five rounds of products cost far more
  for (std::int64_t i = 0; i < m * n; ++i) {
    const auto v = static_cast<double>(static_cast<float>(x[i]));
    squares += v * v;
  }
  const bfloat16 norm(static_cast<float>(std::sqrt(squares)));
  const auto divisor = static_cast<float>(bfloat16(static_cast<float>(norm) + norm_eps));
  parallel_for(m, rows_per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * n; i < end * n; ++i) x[i] = bfloat16(static_cast<float>(x[i]) / divisor);
  });
}

}  // namespace

std::int64_t newton_schulz_elements(std::int64_t rows, std::int64_t columns) noexcept {
  const std::int64_t m = std::min(rows, columns);
  return 2 * rows * columns + 3 * m * m;
}

std::int64_t newton_schulz_workspace_bytes(std::int64_t rows, std::int64_t columns) {
  std::int64_t bytes = 0;
  for (const MatmulShape& shape : products(std::min(rows, columns), std::max(rows, columns)))
    bytes = std::max(bytes, ops::matmul_workspace_bytes(shape, DType::bf16, DType::bf16));
  return bytes;
}

void newton_schulz_prepare(std::int64_t rows, std::int64_t columns) {
  for (const MatmulShape& shape : products(std::min(rows, columns), std::max(rows, columns)))
    ops::matmul_prepare(shape, DType::bf16, DType::bf16, false);
}

void newton_schulz(const Exec& exec, float* matrix, std::int64_t rows, std::int64_t columns, int steps,
                   bfloat16* iterates) {
  const bool tall = rows > columns;
  const std::int64_t m = std::min(rows, columns);
  const std::int64_t n = std::max(rows, columns);
  const auto [gram, square, product] = products(m, n);
  const auto data = [](bfloat16* at) { return Data{at, DType::bf16}; };
  const Data x = data(iterates);
  const Data bx = x.at(m * n);
  const Data a = bx.at(m * n);
  const Data ca = a.at(m * m);
  const Data caa = ca.at(m * m);
  normalise(iterates, {matrix, columns, tall}, m, n);
  for (int step = 0; step < steps; ++step) {
    ops::matmul(exec, a, x, x, gram, false);
    ops::convert(exec, ca, a, m * m);
    ops::scale(exec, ca, factor_c, m * m);
    ops::matmul(exec, caa, ca, a, square, false);
    ops::scale(exec, a, factor_b, m * m);
    ops::add(exec, a, caa, m * m);
    ops::matmul(exec, bx, a, x, product, false);
    ops::scale(exec, x, factor_a, m * n);
    ops::add(exec, x, bx, m * n);
  }
  parallel_for(rows, rows_per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      for (std::int64_t c = 0; c < columns; ++c)
        matrix[r * columns + c] = static_cast<float>(iterates[tall ? c * n + r : r * n + c]);
    }
  });
}

}  // namespace dstrain
