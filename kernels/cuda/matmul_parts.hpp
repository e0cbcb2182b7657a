// SPDX-License-Identifier: Apache-2.0
/// What the implementations of a product share. Private to kernels/cuda.
#pragma once

#include <string>

#include "kernels/cuda/errors.hpp"
#include "kernels/ops/matmul.hpp"

namespace dstrain {

/// `shape` with its strides filled in.
/// @throws ShapeError  negative sizes, or a stride shorter than its row
inline MatmulShape with_strides(const MatmulShape& shape) {
  MatmulShape s = shape;
  const std::int64_t a_row = s.transpose_a ? s.M : s.K;
  const std::int64_t b_row = s.transpose_b ? s.K : s.N;
  if (s.lda == 0) s.lda = a_row;
  if (s.ldb == 0) s.ldb = b_row;
  if (s.ldc == 0) s.ldc = s.N;
  if (s.M < 0 || s.N < 0 || s.K < 0 || s.lda < a_row || s.ldb < b_row || s.ldc < s.N) {
    fail_shape(text_of("matmul: M {} N {} K {} with strides a {} b {} c {}", s.M, s.N, s.K, s.lda, s.ldb, s.ldc));
  }
  return s;
}

/// @throws ShapeError  dtypes that matmul does not take together
inline void check_product_dtypes(DType a, DType b, DType c, bool accumulate) {
  const bool known = a == DType::f32 || a == DType::bf16 || a == DType::f16;
  if (!known || a != b || (c != DType::f32 && c != a))
    fail_shape(text_of("matmul does not take {} and {} to {}", name_of(a), name_of(b), name_of(c)));
  if (accumulate && c != DType::f32) fail_shape("matmul adds to f32 only");
}

namespace cuda {
/// Strides are filled in. Bits depend on the shape alone.
void matmul_plain(const Exec& exec, Data c, ConstData a, ConstData b, const MatmulShape& s, bool accumulate);

/// Products in f32 may round their operands to TF32. Off at start; before the first product of a shape.
void allow_tf32(bool allowed) noexcept;

/// One line for every kind of product that ran: shape, dtypes, algorithm, workspace. For logs and benchmarks.
std::string matmul_record();
}  // namespace cuda
namespace emulated {
void matmul_plain(const Exec& exec, Data c, ConstData a, ConstData b, const MatmulShape& s, bool accumulate);
}

}  // namespace dstrain
