// SPDX-License-Identifier: Apache-2.0
/// Gradients of biases and magnitudes: sums down columns; and the norms of rows.
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/columns.cuh"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

constexpr int row_threads = 256;
constexpr float smallest_norm = 1e-12F;  // F.normalize's eps

template <typename S>
struct BiasTerm {
  const S* dy;
  std::int64_t ldy;
  DSTRAIN_DEVICE float operator()(std::int64_t t, std::int64_t n) const { return widen(dy[t * ldy + n]); }
};

template <typename S>
struct DotTerm {
  const S* a;
  const S* b;
  std::int64_t lda;
  std::int64_t ldb;
  DSTRAIN_DEVICE float operator()(std::int64_t t, std::int64_t n) const {
    return widen(a[t * lda + n]) * widen(b[t * ldb + n]);
  }
};

struct StoreScaledSum {
  float* out;
  const float* factor;
  bool add;
  DSTRAIN_DEVICE void operator()(std::int64_t n, float sum) const {
    const float value = factor[n] * sum;
    out[n] = add ? out[n] + value : value;
  }
};

template <typename S>
void bias_backward_as(const Exec& exec, float* db, ConstData dy, std::int64_t T, std::int64_t N, std::int64_t ldy,
                      bool accumulate) {
  sum_columns(exec, T, N, BiasTerm<S>{dy.as<S>(), ldy}, StoreSum{db, accumulate});
}

template <typename S>
void column_dots_as(const Exec& exec, float* out, ConstData a, ConstData b, const float* factor, std::int64_t T,
                    std::int64_t N, std::int64_t lda, std::int64_t ldb, bool accumulate) {
  sum_columns(exec, T, N, DotTerm<S>{a.as<S>(), b.as<S>(), lda, ldb}, StoreScaledSum{out, factor, accumulate});
}

/// One block per row of W + scale * B A: the row in f32, its squares in f64.
template <typename S>
__global__ void updated_row_norms_kernel(float* norm, const S* w, const S* a, const S* b, float scale, std::int64_t in,
                                         std::int64_t rank, std::int64_t row_stride, std::int64_t column_stride) {
  const std::int64_t o = blockIdx.x;
  double squares = 0.0;
  for (std::int64_t i = threadIdx.x; i < in; i += blockDim.x) {
    float update = 0.0F;
    for (std::int64_t r = 0; r < rank; ++r) update += widen(b[o * rank + r]) * widen(a[r * in + i]);
    const double value = widen(w[o * row_stride + i * column_stride]) + scale * update;
    squares += value * value;
  }
  squares = block_sum(squares);
  if (threadIdx.x == 0) norm[o] = static_cast<float>(sqrt(squares));
}

template <typename S>
__global__ void inverse_row_norms_kernel(float* r_V, const S* w, std::int64_t D) {
  const std::int64_t v = blockIdx.x;
  float squares = 0.0F;
  for (std::int64_t d = threadIdx.x; d < D; d += blockDim.x) {
    const float x = widen(w[v * D + d]);
    squares += x * x;
  }
  squares = block_sum(squares);
  if (threadIdx.x == 0) r_V[v] = 1.0F / fmaxf(sqrtf(squares), smallest_norm);
}

template <typename S>
__global__ void remove_row_component_kernel(float* dw, const S* w, const float* r_V, std::int64_t D) {
  const std::int64_t v = blockIdx.x;
  float along = 0.0F;
  for (std::int64_t d = threadIdx.x; d < D; d += blockDim.x) along += dw[v * D + d] * widen(w[v * D + d]);
  along = block_sum(along);
  const float factor = -along * (r_V[v] * r_V[v]);
  for (std::int64_t d = threadIdx.x; d < D; d += blockDim.x)
    dw[v * D + d] = fmaf(widen(w[v * D + d]), factor, dw[v * D + d]);
}

}  // namespace

void bias_backward(const Exec& exec, float* db_N, ConstData dy_TN, std::int64_t T, std::int64_t N, std::int64_t ldy,
                   bool accumulate) {
  DSTRAIN_BY_STORAGE(storage_index(dy_TN.dtype, "bias_backward"), S,
                     bias_backward_as<S>(exec, db_N, dy_TN, T, N, ldy, accumulate));
}

void column_dots(const Exec& exec, float* out_N, ConstData a, ConstData b, const float* factor_N, std::int64_t T,
                 std::int64_t N, std::int64_t lda, std::int64_t ldb, bool accumulate) {
  DSTRAIN_BY_STORAGE(storage_index({a.dtype, b.dtype}, "column_dots"), S,
                     column_dots_as<S>(exec, out_N, a, b, factor_N, T, N, lda, ldb, accumulate));
}

void updated_row_norms(const Exec& exec, float* norm, ConstData w, ConstData a, ConstData b, float scale,
                       std::int64_t out, std::int64_t in, std::int64_t rank, bool transposed) {
  // W is [out, in], or [in, out] where transposed.
  const std::int64_t row_stride = transposed ? 1 : in;
  const std::int64_t column_stride = transposed ? out : 1;
  DSTRAIN_BY_STORAGE(storage_index({w.dtype, a.dtype, b.dtype}, "updated_row_norms"), S,
                     launch(updated_row_norms_kernel<S>, exec, {out}, row_threads, 0, norm, w.as<S>(), a.as<S>(),
                            b.as<S>(), scale, in, rank, row_stride, column_stride));
}

void inverse_row_norms(const Exec& exec, float* r_V, ConstData w_VD, std::int64_t V, std::int64_t D) {
  DSTRAIN_BY_STORAGE(storage_index(w_VD.dtype, "inverse_row_norms"), S,
                     launch(inverse_row_norms_kernel<S>, exec, {V}, row_threads, 0, r_V, w_VD.as<S>(), D));
}

void remove_row_component(const Exec& exec, float* dw_VD, ConstData w_VD, const float* r_V, std::int64_t V,
                          std::int64_t D) {
  DSTRAIN_BY_STORAGE(storage_index(w_VD.dtype, "remove_row_component"), S,
                     launch(remove_row_component_kernel<S>, exec, {V}, row_threads, 0, dw_VD, w_VD.as<S>(), r_V, D));
}

}  // namespace dstrain::DSTRAIN_KERNELS
