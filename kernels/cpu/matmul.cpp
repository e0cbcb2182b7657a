// SPDX-License-Identifier: Apache-2.0
/// Matrix products on the CPU: checks, and which implementation takes the shape.
#include <algorithm>

#include "core/parallel.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/bf16_products.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/matmul_onednn.hpp"
#include "kernels/cpu/matmul_packed.hpp"

namespace dstrain::cpu {

namespace {

/// `shape` with its strides filled in.
/// @throws ShapeError  negative sizes, or a stride shorter than its row
MatmulShape with_strides(const MatmulShape& shape) {
  MatmulShape s = shape;
  const std::int64_t a_row = s.transpose_a ? s.M : s.K;
  const std::int64_t b_row = s.transpose_b ? s.K : s.N;
  if (s.lda == 0) s.lda = a_row;
  if (s.ldb == 0) s.ldb = b_row;
  if (s.ldc == 0) s.ldc = s.N;
  if (s.M < 0 || s.N < 0 || s.K < 0 || s.lda < a_row || s.ldb < b_row || s.ldc < s.N) {
    throw ShapeError(
        fmt::format("matmul: M {} N {} K {} with strides a {} b {} c {}", s.M, s.N, s.K, s.lda, s.ldb, s.ldc));
  }
  return s;
}

/// @throws ShapeError  dtypes that matmul does not take together
void check_dtypes(DType a, DType b, DType c, bool accumulate) {
  (void)storage_index({a, b}, "matmul");
  if (c != DType::f32 && c != a) {
    throw ShapeError(fmt::format("matmul does not take {} to {}", name_of(a), name_of(c)));
  }
  if (accumulate && c != DType::f32) throw ShapeError("matmul adds to f32 only");
}

Packing packing_of(DType a_b) {
  if (a_b == DType::f32) return Packing::f32;
  if (a_b == DType::f16) return Packing::f16_as_f32;
  return bf16_products() == Bf16Products::pairs ? Packing::bf16_pairs : Packing::bf16_as_f32;
}

bool by_onednn(DType a_b) { return a_b == DType::bf16 && bf16_products() == Bf16Products::onednn; }

/// Rows up to which y = x W^T is faster as dot products of rows, in f32 and with nothing packed: generation. Units that
/// multiply bf16 at twice the rate and more win sooner.
std::int64_t most_dot_rows(DType a_b) {
  return a_b == DType::bf16 && bf16_products() != Bf16Products::convert ? 4 : 16;
}

bool by_dots(const MatmulShape& s, DType a_b) { return s.M <= most_dot_rows(a_b) && !s.transpose_a && s.transpose_b; }

constexpr IsaTables<GemmDotFunctions> dot_tables = DSTRAIN_ISA_TABLES(gemm_dot);

void matmul_dots(Data c, ConstData a, ConstData b, const MatmulShape& s, bool accumulate) {
  const auto multiply = dot_tables.get().multiply[storage_index(a.dtype, "matmul")];
  const TileStore write = tile_store_of(c.dtype);
  const std::int64_t grain = std::max<std::int64_t>(4, rows_grain(s.K) / 4 * 4);
  parallel_for(s.N, grain, [&](std::int64_t begin, std::int64_t end) {
    multiply({a.data, b.data, c.data, s.lda, s.ldb, s.ldc, s.M, begin, end, s.K},
             accumulate ? TileStore::add_f32 : write);
  });
}

bool is_empty(const MatmulShape& s) { return s.M == 0 || s.N == 0; }

}  // namespace

std::int64_t matmul_workspace_bytes(const MatmulShape& shape, DType a_b, DType c) {
  check_dtypes(a_b, a_b, c, false);
  const MatmulShape s = with_strides(shape);
  if (is_empty(s) || by_dots(s, a_b)) return 0;
  if (by_onednn(a_b) && s.K > 0) return onednn_workspace_bytes(s, c);
  return packed_workspace_bytes(s, packing_of(a_b), c);
}

void matmul(const Exec& exec, Data c, ConstData a, ConstData b, const MatmulShape& shape, bool accumulate) {
  check_dtypes(a.dtype, b.dtype, c.dtype, accumulate);
  const MatmulShape s = with_strides(shape);
  if (is_empty(s)) return;
  if (by_dots(s, a.dtype)) {
    matmul_dots(c, a, b, s, accumulate);
    return;
  }
  const std::int64_t needed = matmul_workspace_bytes(s, a.dtype, c.dtype);
  if (exec.workspace_bytes < needed) {
    throw ShapeError(fmt::format("matmul needs {} bytes of workspace and got {}", needed, exec.workspace_bytes));
  }
  if (by_onednn(a.dtype) && s.K > 0) {
    matmul_onednn(exec.workspace, c, a, b, s, accumulate);
    return;
  }
  matmul_packed(exec.workspace, c, a, b, s, packing_of(a.dtype), accumulate);
}

void matmul_prepare(const MatmulShape& shape, DType a_b, DType c, bool accumulate) {
  check_dtypes(a_b, a_b, c, accumulate);
  const MatmulShape s = with_strides(shape);
  if (by_onednn(a_b) && !is_empty(s) && !by_dots(s, a_b) && s.K > 0) onednn_prepare(s, c, accumulate);
}

}  // namespace dstrain::cpu
