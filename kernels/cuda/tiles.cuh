// SPDX-License-Identifier: Apache-2.0
/// Products of tiles in shared memory by a whole block: tensor cores where the storage type has them, else fused
/// multiply-adds in f32.
#pragma once

#include "kernels/cuda/simt.hpp"
#ifdef __CUDACC__
#include <mma.h>

#include <type_traits>
#endif

namespace dstrain::DSTRAIN_KERNELS {

inline constexpr int tile_edge = 16;  ///< rows and columns of a warp's product

#ifdef __CUDACC__
template <typename S>
struct TensorType {};
template <>
struct TensorType<Bf16> {
  using Type = __nv_bfloat16;
};
template <>
struct TensorType<F16> {
  using Type = __half;
};

/// One 16 x 16 tile of C on the tensor cores. Leading dims are multiples of 8, tiles begin on 32 bytes.
template <typename S, bool transpose_a, bool transpose_b>
DSTRAIN_DEVICE void warp_product_tensor(float* c, int ldc, const S* a, int lda, const S* b, int ldb, int K,
                                        bool accumulate) {
  using namespace nvcuda;
  using T = typename TensorType<S>::Type;
  using LayoutA = std::conditional_t<transpose_a, wmma::col_major, wmma::row_major>;
  using LayoutB = std::conditional_t<transpose_b, wmma::col_major, wmma::row_major>;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
  if (accumulate) {
    wmma::load_matrix_sync(sum, c, static_cast<unsigned>(ldc), wmma::mem_row_major);
  } else {
    wmma::fill_fragment(sum, 0.0F);
  }
  for (int k = 0; k < K; k += tile_edge) {
    wmma::fragment<wmma::matrix_a, 16, 16, 16, T, LayoutA> fa;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, T, LayoutB> fb;
    wmma::load_matrix_sync(fa, reinterpret_cast<const T*>(a + (transpose_a ? k * lda : k)), static_cast<unsigned>(lda));
    wmma::load_matrix_sync(fb, reinterpret_cast<const T*>(b + (transpose_b ? k : k * ldb)), static_cast<unsigned>(ldb));
    wmma::mma_sync(sum, fa, fb, sum);
  }
  wmma::store_matrix_sync(c, sum, static_cast<unsigned>(ldc), wmma::mem_row_major);
}
#endif

/// One 16 x 16 tile of C, eight neighbours of a row for each lane, k ascending.
template <typename S, bool transpose_a, bool transpose_b>
DSTRAIN_DEVICE void warp_product_plain(float* c, int ldc, const S* a, int lda, const S* b, int ldb, int K,
                                       bool accumulate) {
  constexpr int width = 8;
  const int m = lane_id() / 2;
  const int n = lane_id() % 2 * width;
  float sum[width];
  for (int i = 0; i < width; ++i) sum[i] = accumulate ? c[m * ldc + n + i] : 0.0F;
  for (int k = 0; k < K; ++k) {
    const float x = widen(transpose_a ? a[k * lda + m] : a[m * lda + k]);
    for (int i = 0; i < width; ++i)
      sum[i] = fmaf(x, widen(transpose_b ? b[(n + i) * ldb + k] : b[k * ldb + n + i]), sum[i]);
  }
  for (int i = 0; i < width; ++i) c[m * ldc + n + i] = sum[i];
}

/// C[M,N] (+)= op(A)[M,K] op(B)[K,N] in shared memory; M, N, K multiples of 16. A is stored [M,K] ([K,M] transposed), B
/// [K,N] ([N,K]). Warps take tiles in turn, each tile has one writer. The caller synchronises before and after.
template <bool transpose_a, bool transpose_b, typename S>
DSTRAIN_DEVICE void tile_product(float* c, int ldc, const S* a, int lda, const S* b, int ldb, int M, int N, int K,
                                 bool accumulate) {
  const int tiles_n = N / tile_edge;
  const int tiles = M / tile_edge * tiles_n;
  for (int tile = warp_id(); tile < tiles; tile += static_cast<int>(blockDim.x) / 32) {
    const int m = tile / tiles_n * tile_edge;
    const int n = tile % tiles_n * tile_edge;
    float* to = c + m * ldc + n;
    const S* from_a = a + (transpose_a ? m : m * lda);
    const S* from_b = b + (transpose_b ? n * ldb : n);
#ifdef __CUDACC__
    if constexpr (sizeof(S) == 2) {
      warp_product_tensor<S, transpose_a, transpose_b>(to, ldc, from_a, lda, from_b, ldb, K, accumulate);
      continue;
    }
#endif
    warp_product_plain<S, transpose_a, transpose_b>(to, ldc, from_a, lda, from_b, ldb, K, accumulate);
  }
}

}  // namespace dstrain::DSTRAIN_KERNELS
