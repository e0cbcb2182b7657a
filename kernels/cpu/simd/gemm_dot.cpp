// SPDX-License-Identifier: Apache-2.0
/// The matrix product of few rows as dot products: both operands are read as they lie, along k.
///
/// Each element has one sum per lane, added up at the end: its bits do not depend on the block it falls into.
#include "kernels/cpu/simd/gemm_functions.hpp"
#include "kernels/cpu/simd/vec.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int block_rows = 4;
#else
constexpr int block_rows = 2;
#endif
constexpr int block_columns = 4;

DSTRAIN_INLINE void store_element(void* c, std::int64_t at, float sum, TileStore how) {
  float* f = static_cast<float*>(c) + at;
  switch (how) {
    case TileStore::write_f32:
      *f = sum;
      break;
    case TileStore::add_f32:
      *f += sum;
      break;
    case TileStore::write_bf16:
      static_cast<std::uint16_t*>(c)[at] = narrow(broadcast(sum))[0];
      break;
    case TileStore::write_f16:
      static_cast<Half*>(c)[at].bits = narrow_half(broadcast(sum))[0];
      break;
  }
}

/// C[m .. m + rows, n .. n + columns].
template <typename S, int rows, int columns>
DSTRAIN_FLATTEN void dot_block(const DotOperands& o, std::int64_t m, std::int64_t n, TileStore how) {
  const S* a = static_cast<const S*>(o.a) + m * o.lda;
  const S* b = static_cast<const S*>(o.b) + n * o.ldb;
  VecF sums[rows][columns] = {};
  for_lanes(o.K, [&](std::int64_t k, auto part) {
    VecF b_k[columns];
#pragma GCC unroll 4
    for (int j = 0; j < columns; ++j) b_k[j] = load(b + j * o.ldb + k, part);
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i) {
      const VecF a_k = load(a + i * o.lda + k, part);
#pragma GCC unroll 4
      for (int j = 0; j < columns; ++j) sums[i][j] = fma(a_k, b_k[j], sums[i][j]);
    }
  });
#pragma GCC unroll 4
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < columns; ++j) store_element(o.c, (m + i) * o.ldc + n + j, sum(sums[i][j]), how);
  }
}

template <typename S, int columns>
void dot_columns(const DotOperands& o, std::int64_t n, TileStore how) {
  std::int64_t m = 0;
  for (; m + block_rows <= o.M; m += block_rows) dot_block<S, block_rows, columns>(o, m, n, how);
  for (; m < o.M; ++m) dot_block<S, 1, columns>(o, m, n, how);
}

template <typename S>
void multiply(const DotOperands& o, TileStore how) {
  std::int64_t n = o.n_begin;
  for (; n + block_columns <= o.n_end; n += block_columns) dot_columns<S, block_columns>(o, n, how);
  for (; n < o.n_end; ++n) dot_columns<S, 1>(o, n, how);
}

}  // namespace

const GemmDotFunctions gemm_dot = {{multiply<float>, multiply<std::uint16_t>, multiply<Half>}};

}  // namespace dstrain::cpu::DSTRAIN_ISA
