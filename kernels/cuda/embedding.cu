// SPDX-License-Identifier: Apache-2.0
/// The embedding's gradient without atomics: the first token of each id adds up the rows of all its tokens.
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/simt.hpp"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

constexpr int threads = 256;
constexpr int strip = 256;  ///< ids that a block looks at in one go

/// Block (t, piece): columns [piece * threads, ...) of row ids[t], where no token before t has the same id. Tokens are
/// added in ascending order, as on the CPU.
template <typename S>
__global__ void embedding_backward_kernel(float* dtable, const S* dy, const std::int32_t* ids, std::int64_t T,
                                          std::int64_t D) {
  DSTRAIN_SHARED(std::int32_t, same, strip);
  const std::int64_t t = blockIdx.x;
  const std::int32_t id = ids[t];
  int seen = 0;
  for (std::int64_t i = threadIdx.x; i < t; i += blockDim.x) seen |= ids[i] == id ? 1 : 0;
  if (block_sum(seen) > 0) return;  // the whole block
  const std::int64_t d = static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  float sum = d < D ? dtable[id * D + d] : 0.0F;
  for (std::int64_t begin = t; begin < T; begin += strip) {
    __syncthreads();
    const std::int64_t mine = begin + threadIdx.x;
    same[threadIdx.x] = mine < T && ids[mine] == id ? 1 : 0;
    __syncthreads();
    for (std::int64_t i = begin; d < D && i < begin + strip && i < T; ++i) {
      if (same[i - begin] != 0) sum += widen(dy[i * D + d]);
    }
  }
  if (d < D) dtable[id * D + d] = sum;
}

template <typename S>
void gather_columns_as(const Exec& exec, Data y_TR, ConstData a_RV, const std::int32_t* ids, std::int64_t T,
                       std::int64_t R, std::int64_t V) {
  S* y = y_TR.as<S>();
  const S* a = a_RV.as<S>();
  for_each_element(exec, T * R, [=] __device__(std::int64_t i) { y[i] = a[i % R * V + ids[i / R]]; });
}

/// One thread per row of A: tokens are added in ascending order. R is small.
template <typename S>
void gather_columns_backward_as(const Exec& exec, float* da, ConstData dy_TR, const std::int32_t* ids, std::int64_t T,
                                std::int64_t R, std::int64_t V) {
  const S* dy = dy_TR.as<S>();
  for_each_element(exec, R, [=] __device__(std::int64_t r) {
    for (std::int64_t t = 0; t < T; ++t) da[r * V + ids[t]] += widen(dy[t * R + r]);
  });
}

}  // namespace

void gather_columns(const Exec& exec, Data y_TR, ConstData a_RV, const std::int32_t* ids_T, std::int64_t T,
                    std::int64_t R, std::int64_t V) {
  DSTRAIN_BY_STORAGE(storage_index({y_TR.dtype, a_RV.dtype}, "gather_columns"), S,
                     gather_columns_as<S>(exec, y_TR, a_RV, ids_T, T, R, V));
}

void gather_columns_backward(const Exec& exec, float* da_RV, ConstData dy_TR, const std::int32_t* ids_T, std::int64_t T,
                             std::int64_t R, std::int64_t V, bool accumulate) {
  const int storage = storage_index(dy_TR.dtype, "gather_columns_backward");
  if (!accumulate) fill_zero(exec, {da_RV, DType::f32}, R * V);
  DSTRAIN_BY_STORAGE(storage, S, gather_columns_backward_as<S>(exec, da_RV, dy_TR, ids_T, T, R, V));
}

void embedding_backward(const Exec& exec, float* dtable_VD, ConstData dy_TD, const std::int32_t* ids_T, std::int64_t T,
                        std::int64_t D, std::int64_t V, bool accumulate) {
  static_assert(strip == threads);
  const int storage = storage_index(dy_TD.dtype, "embedding_backward");
  if (!accumulate) fill_zero(exec, {dtable_VD, DType::f32}, V * D);
  DSTRAIN_BY_STORAGE(storage, S,
                     launch(embedding_backward_kernel<S>, exec, {T, div_up(D, threads)}, threads, 0, dtable_VD,
                            dy_TD.as<S>(), ids_T, T, D));
}

}  // namespace dstrain::DSTRAIN_KERNELS
