// SPDX-License-Identifier: Apache-2.0
#include "zero/newton_schulz.hpp"

#include <algorithm>
#include <array>

#include "kernels/ops/elementwise.hpp"
#include "kernels/ops/matmul.hpp"
#include "kernels/ops/newton_schulz.hpp"

namespace dstrain {

namespace {

constexpr float factor_a = 3.4445F;
constexpr float factor_b = -4.7750F;
constexpr float factor_c = 2.0315F;

/// The three products: X X^T, (cA) A and B X.
std::array<MatmulShape, 3> products(std::int64_t m, std::int64_t n) {
  return {{{m, m, n, false, true}, {m, m, m, false, false}, {m, n, m, false, false}}};
}

}  // namespace

std::int64_t newton_schulz_elements(std::int64_t rows, std::int64_t columns) noexcept {
  const std::int64_t m = std::min(rows, columns);
  return 2 * rows * columns + 3 * m * m;
}

std::int64_t newton_schulz_workspace_bytes(std::int64_t rows, std::int64_t columns, DeviceKind device) {
  std::int64_t bytes = ops::unit_matrix_workspace_bytes(device);
  for (const MatmulShape& shape : products(std::min(rows, columns), std::max(rows, columns)))
    bytes = std::max(bytes, ops::matmul_workspace_bytes(shape, DType::bf16, DType::bf16, device));
  return bytes;
}

void newton_schulz_prepare(std::int64_t rows, std::int64_t columns, DeviceKind device) {
  for (const MatmulShape& shape : products(std::min(rows, columns), std::max(rows, columns)))
    ops::matmul_prepare(shape, DType::bf16, DType::bf16, false, device);
}

void newton_schulz(const Exec& exec, float* matrix, std::int64_t rows, std::int64_t columns, int steps, Data iterates) {
  const bool tall = rows > columns;
  const std::int64_t m = std::min(rows, columns);
  const std::int64_t n = std::max(rows, columns);
  const auto [gram, square, product] = products(m, n);
  const Data x = iterates;
  const Data bx = x.at(m * n);
  const Data a = bx.at(m * n);
  const Data ca = a.at(m * m);
  const Data caa = ca.at(m * m);
  ops::unit_matrix(exec, x, matrix, rows, columns, tall);
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
  ops::widen_matrix(exec, matrix, x, rows, columns, tall);
}

}  // namespace dstrain
