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

}  // namespace

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
