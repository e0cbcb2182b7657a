// SPDX-License-Identifier: Apache-2.0
/// A product for shapes that no library kernel takes (odd strides, unaligned pointers, no columns to sum): one thread
/// per element of C, tiles in shared memory. Correct for everything, fast for nothing.
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/matmul_parts.hpp"
#include "kernels/cuda/simt.hpp"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

constexpr int edge = 16;

template <typename C, typename S>
__global__ void plain_kernel(C* c, const S* a, const S* b, MatmulShape s, bool accumulate) {
  DSTRAIN_SHARED(float, tile_a, (edge * (edge + 1)));
  DSTRAIN_SHARED(float, tile_b, (edge * (edge + 1)));
  const int column = static_cast<int>(threadIdx.x) % edge;
  const int row = static_cast<int>(threadIdx.x) / edge;
  const std::int64_t m = static_cast<std::int64_t>(blockIdx.y) * edge + row;
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * edge + column;
  float sum = 0.0F;
  for (std::int64_t k0 = 0; k0 < s.K; k0 += edge) {
    const std::int64_t ka = k0 + column;
    const std::int64_t kb = k0 + row;
    tile_a[row * (edge + 1) + column] =
        m < s.M && ka < s.K ? widen(s.transpose_a ? a[ka * s.lda + m] : a[m * s.lda + ka]) : 0.0F;
    tile_b[row * (edge + 1) + column] =
        n < s.N && kb < s.K ? widen(s.transpose_b ? b[n * s.ldb + kb] : b[kb * s.ldb + n]) : 0.0F;
    __syncthreads();
    for (int k = 0; k < edge; ++k) sum = fmaf(tile_a[row * (edge + 1) + k], tile_b[k * (edge + 1) + column], sum);
    __syncthreads();
  }
  if (m >= s.M || n >= s.N) return;
  C& to = c[m * s.ldc + n];
  narrow(to, accumulate ? widen(to) + sum : sum);
}

template <typename C, typename S>
void run(const Exec& exec, Data c, ConstData a, ConstData b, const MatmulShape& s, bool accumulate) {
  // Rows go along y, which has a limit: pieces of it.
  constexpr std::int64_t most_rows = std::int64_t{65535} * edge;
  for (std::int64_t m = 0; m < s.M; m += most_rows) {
    MatmulShape part = s;
    part.M = s.M - m < most_rows ? s.M - m : most_rows;
    launch(plain_kernel<C, S>, exec, {div_up(s.N, edge), div_up(part.M, edge)}, edge * edge, 0,
           c.as<C>() + m * s.ldc, a.as<S>() + (s.transpose_a ? m : m * s.lda), b.as<S>(), part, accumulate);
  }
}

}  // namespace

void matmul_plain(const Exec& exec, Data c, ConstData a, ConstData b, const MatmulShape& s, bool accumulate) {
  if (c.dtype == DType::f32) {
    DSTRAIN_BY_STORAGE(storage_index({a.dtype, b.dtype}, "matmul"), S, run<float, S>(exec, c, a, b, s, accumulate));
  } else {
    DSTRAIN_BY_STORAGE(storage_index({a.dtype, b.dtype, c.dtype}, "matmul"), S,
                       run<S, S>(exec, c, a, b, s, accumulate));
  }
}

}  // namespace dstrain::DSTRAIN_KERNELS
