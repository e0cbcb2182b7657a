// SPDX-License-Identifier: Apache-2.0
/// Matrix products, row-major.
#pragma once

#include "kernels/ops/common.hpp"

namespace dstrain {

/// C[M,N] (+)= op(A)[M,K] * op(B)[K,N]. A is stored [M,K] (or [K,M] when transpose_a), B [K,N] (or [N,K] when
/// transpose_b). Row strides in elements; 0 means "as wide as the stored row".
struct MatmulShape {
  std::int64_t M = 0;
  std::int64_t N = 0;
  std::int64_t K = 0;
  bool transpose_a = false;
  bool transpose_b = false;
  std::int64_t lda = 0;
  std::int64_t ldb = 0;
  std::int64_t ldc = 0;
};

namespace ops {
/// Local. dtypes (A, B -> C): f32, f32 -> f32; bf16, bf16 -> bf16 or f32 and f16, f16 -> f16 or f32 (sums in
/// f32). With `accumulate` C (f32 only)
/// is added to: c = c + sum. The bits depend on shape, dtype and kind of CPU, not on the number of threads: split over
/// M and N into tiles that one thread each works through, never over K.
void matmul(const Exec& exec, Data c, ConstData a, ConstData b, const MatmulShape& shape, bool accumulate);
/// C[M,N] = op(A) op(B) + bias[N], one bias for every row, of C's dtype: matmul and add_bias, where the library can in
/// one pass (then rounded once). Workspace as matmul's.
void matmul_bias(const Exec& exec, Data c, ConstData a, ConstData b, ConstData bias_N, const MatmulShape& shape);
/// Workspace that matmul needs for this shape and these dtypes.
std::int64_t matmul_workspace_bytes(const MatmulShape& shape, DType a_b, DType c, DeviceKind device = DeviceKind::cpu);
/// Makes what the first call of this shape would make (JIT kernels, the choice of an algorithm), so that no step pays
/// for it.
void matmul_prepare(const MatmulShape& shape, DType a_b, DType c, bool accumulate, DeviceKind device = DeviceKind::cpu);

/// y[t,n] += bias[n]. bias has y's dtype.
void add_bias(const Exec& exec, Data y_TN, ConstData bias_N, std::int64_t T, std::int64_t N, std::int64_t ldy);
/// db[n] (+)= sum_t dy[t,n], in f32, in an order that does not depend on threads.
void bias_backward(const Exec& exec, float* db_N, ConstData dy_TN, std::int64_t T, std::int64_t N, std::int64_t ldy,
                   bool accumulate);
}  // namespace ops

}  // namespace dstrain
