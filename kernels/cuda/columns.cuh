// SPDX-License-Identifier: Apache-2.0
/// Sums down the columns of a [T, N] matrix whose terms a functor makes.
#pragma once

#include "kernels/cuda/simt.hpp"

namespace dstrain::DSTRAIN_KERNELS {

inline constexpr int column_lanes = 32;  ///< columns of a block
inline constexpr int column_rows = 16;   ///< rows that a block reads at a time

/// finish(n, sum over t of term(t, n)): each thread adds every 16th row in ascending order, then the sixteen sums are
/// added in pairs. The order depends on T alone.
template <typename Term, typename Finish>
__global__ void sum_columns_kernel(std::int64_t T, std::int64_t N, Term term, Finish finish) {
  DSTRAIN_SHARED(float, partial, (column_rows * column_lanes));
  const int lane = static_cast<int>(threadIdx.x) % column_lanes;
  const int row = static_cast<int>(threadIdx.x) / column_lanes;
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * column_lanes + lane;
  float sum = 0.0F;
  if (n < N) {
    for (std::int64_t t = row; t < T; t += column_rows) sum += term(t, n);
  }
  partial[row * column_lanes + lane] = sum;
  __syncthreads();
  for (int half = column_rows / 2; half > 0; half /= 2) {
    if (row < half) partial[row * column_lanes + lane] += partial[(row + half) * column_lanes + lane];
    __syncthreads();
  }
  if (row == 0 && n < N) finish(n, partial[lane]);
}

template <typename Term, typename Finish>
void sum_columns(const Exec& exec, std::int64_t T, std::int64_t N, Term term, Finish finish) {
  launch(sum_columns_kernel<Term, Finish>, exec, {div_up(N, column_lanes)}, column_rows * column_lanes, 0, T, N, term,
         finish);
}

/// out[n] = sum, or += where `add`.
struct StoreSum {
  float* out;
  bool add;
  DSTRAIN_DEVICE void operator()(std::int64_t n, float sum) const { out[n] = add ? out[n] + sum : sum; }
};

}  // namespace dstrain::DSTRAIN_KERNELS
