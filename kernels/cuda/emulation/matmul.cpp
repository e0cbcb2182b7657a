// SPDX-License-Identifier: Apache-2.0
/// Products where kernels are emulated: our own kernel where it is small enough to be waited for, else the CPU's.
#include "kernels/cpu/backend.hpp"
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/matmul_parts.hpp"

namespace dstrain::emulated {

namespace {
constexpr std::int64_t most_emulated = 4096;  ///< multiplications
}

std::int64_t matmul_workspace_bytes(const MatmulShape& shape, DType a_b, DType c) {
  return cpu::matmul_workspace_bytes(shape, a_b, c);
}

void matmul_prepare(const MatmulShape& shape, DType a_b, DType c, bool accumulate) {
  cpu::matmul_prepare(shape, a_b, c, accumulate);
}

void matmul(const Exec& exec, Data c, ConstData a, ConstData b, const MatmulShape& shape, bool accumulate) {
  check_product_dtypes(a.dtype, b.dtype, c.dtype, accumulate);
  const MatmulShape s = with_strides(shape);
  if (s.M * s.N * s.K <= most_emulated) {
    matmul_plain(exec, c, a, b, s, accumulate);
  } else {
    cpu::matmul(exec, c, a, b, s, accumulate);
  }
}

void matmul_bias(const Exec& exec, Data c, ConstData a, ConstData b, ConstData bias_N, const MatmulShape& shape) {
  matmul(exec, c, a, b, shape, false);
  add_bias(exec, c, bias_N, shape.M, shape.N, shape.ldc == 0 ? shape.N : shape.ldc);
}

}  // namespace dstrain::emulated
