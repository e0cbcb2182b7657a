// SPDX-License-Identifier: Apache-2.0
/// The ends of a Newton-Schulz iteration on a GPU: roundings, a norm in a fixed order, quotients.
#include "kernels/ops/newton_schulz.hpp"

#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/simt.hpp"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

constexpr int sum_threads = 256;
/// Partial sums of a norm: so many whatever the size, so that one block adds them.
constexpr std::int64_t partial_sums = 1024;
constexpr float norm_eps = 1e-7F;

/// Partial sum b takes the elements of stripe b, each thread every 256th in ascending order.
__global__ void partial_squares_kernel(double* partial, const Bf16* x, std::int64_t count) {
  const std::int64_t stripe = (count + gridDim.x - 1) / gridDim.x;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * stripe;
  const std::int64_t end = begin + stripe < count ? begin + stripe : count;
  double sum = 0.0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    const double v = widen(x[i]);
    sum += v * v;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/// Every block adds the partial sums for itself, then divides its elements.
__global__ void divide_kernel(Bf16* x, const double* partial, std::int64_t count) {
  double squares = 0.0;
  for (std::int64_t i = threadIdx.x; i < partial_sums; i += blockDim.x) squares += partial[i];
  squares = block_sum(squares);
  const float norm = rounded<Bf16>(static_cast<float>(sqrt(squares)));
  const float divisor = rounded<Bf16>(norm + norm_eps);
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step)
    narrow(x[i], widen(x[i]) / divisor);
}

void check_bf16(DType dtype, const char* operation) {
  if (dtype != DType::bf16) fail_shape(text_of("{} on {}", operation, name_of(dtype)));
}

}  // namespace

std::int64_t unit_matrix_workspace_bytes() { return partial_sums * static_cast<std::int64_t>(sizeof(double)); }

void unit_matrix(const Exec& exec, Data x, const float* matrix, std::int64_t rows, std::int64_t columns,
                 bool transposed) {
  check_bf16(x.dtype, "unit_matrix");
  if (exec.workspace_bytes < unit_matrix_workspace_bytes())
    fail_shape(text_of("unit_matrix needs {} bytes of workspace and got {}", unit_matrix_workspace_bytes(),
                       exec.workspace_bytes));
  auto* out = x.as<Bf16>();
  const std::int64_t count = rows * columns;
  if (count == 0) return;
  for_each_element(exec, count, [=] __device__(std::int64_t i) {
    narrow(out[i], transposed ? matrix[i % rows * columns + i / rows] : matrix[i]);
  });
  auto* partial = static_cast<double*>(exec.workspace);
  launch(partial_squares_kernel, exec, {partial_sums}, sum_threads, 0, partial, out, count);
  const std::int64_t blocks = div_up(count, sum_threads);
  launch(divide_kernel, exec, {blocks < most_element_blocks ? blocks : most_element_blocks}, sum_threads, 0, out,
         partial, count);
}

void widen_matrix(const Exec& exec, float* matrix, ConstData x, std::int64_t rows, std::int64_t columns,
                  bool transposed) {
  check_bf16(x.dtype, "widen_matrix");
  const auto* in = x.as<Bf16>();
  for_each_element(exec, rows * columns, [=] __device__(std::int64_t i) {
    matrix[i] = widen(in[transposed ? i % columns * rows + i / columns : i]);
  });
}

}  // namespace dstrain::DSTRAIN_KERNELS
