// SPDX-License-Identifier: Apache-2.0
/// Adafactor's sums and updates: sums in f64 in an order that the slice alone decides.
#include "kernels/cuda/copy.hpp"
#include "kernels/cuda/optimizer_steps.cuh"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

constexpr int row_threads = 256;

/// One block per row of the slice.
__global__ void row_sums_kernel(double* rows, const float* gradient, MatrixSlice s, float scale, float eps) {
  const std::int64_t row = s.begin / s.columns + blockIdx.x;
  const std::int64_t row_begin = row * s.columns;
  const std::int64_t begin = row_begin > s.begin ? row_begin : s.begin;
  const std::int64_t row_end = row_begin + s.columns;
  const std::int64_t end = row_end < s.begin + s.count ? row_end : s.begin + s.count;
  double sum = 0.0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    const float v = gradient[i - s.begin] * scale;
    sum += static_cast<double>(v * v + eps);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) rows[row] += sum;
}

/// One thread per column, rows ascending.
void add_column_sums(const Exec& exec, double* columns, const float* gradient, MatrixSlice s, float scale, float eps) {
  const std::int64_t first = s.begin / s.columns;
  const std::int64_t last = (s.begin + s.count - 1) / s.columns;
  for_each_element(exec, s.columns, [=] __device__(std::int64_t c) {
    double sum = columns[c];
    for (std::int64_t row = first; row <= last; ++row) {
      const std::int64_t i = row * s.columns + c - s.begin;
      if (i < 0 || i >= s.count) continue;
      const float v = gradient[i] * scale;
      sum += static_cast<double>(v * v + eps);
    }
    columns[c] = sum;
  });
}

constexpr int total_threads = 1024;

/// One block: the squares of `count` numbers.
__global__ void total_squares_kernel(double* out, const float* x, std::int64_t count) {
  double sum = 0.0;
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    const float v = x[i];
    sum += static_cast<double>(v * v);  // rounded to f32 once, as torch has it
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) *out = sum;
}

/// Sum of the squares of an update, on the host. Waits for the stream.
double total_squares(const Exec& exec, const float* x, std::int64_t count) {
  double* total = device_number();
  launch(total_squares_kernel, exec, {1}, total_threads, 0, total, x, count);
  double value = 0.0;
  copy_to_host(exec, &value, total, static_cast<std::int64_t>(sizeof(double)));
  return value;
}

}  // namespace

void factored_sums(const Exec& exec, double* rows, double* columns, const float* gradient, const MatrixSlice& s,
                   double scale, double eps) {
  if (s.count == 0) return;
  const std::int64_t row_count = (s.begin + s.count - 1) / s.columns + 1 - s.begin / s.columns;
  launch(row_sums_kernel, exec, {row_count}, row_threads, 0, rows, gradient, s, static_cast<float>(scale),
         static_cast<float>(eps));
  add_column_sums(exec, columns, gradient, s, static_cast<float>(scale), static_cast<float>(eps));
}

double factored_update(const Exec& exec, float* update, const float* gradient, const float* row_factor,
                       const float* column_factor, const MatrixSlice& s, double scale_in) {
  if (s.count == 0) return 0.0;
  const auto scale = static_cast<float>(scale_in);
  const MatrixSlice slice = s;
  for_each_element(exec, s.count, [=] __device__(std::int64_t i) {
    const std::int64_t at = slice.begin + i;
    update[i] = row_factor[at / slice.columns] * column_factor[at % slice.columns] * (gradient[i] * scale);
  });
  return total_squares(exec, update, s.count);
}

double unfactored_update(const Exec& exec, float* update, float* exp_avg_sq, const float* gradient, std::int64_t count,
                         double beta2t, double scale_in, double eps_in) {
  if (count == 0) return 0.0;
  const auto keep = static_cast<float>(beta2t);
  const auto take = static_cast<float>(1.0 - beta2t);
  const auto scale = static_cast<float>(scale_in);
  const auto eps = static_cast<float>(eps_in);
  for_each_element(exec, count, [=] __device__(std::int64_t i) {
    const float g = gradient[i] * scale;
    const float v = fmaf(take, g * g + eps, exp_avg_sq[i] * keep);
    exp_avg_sq[i] = v;
    update[i] = 1.0F / sqrtf(v) * g;
  });
  return total_squares(exec, update, count);
}

void apply_update(const Exec& exec, float* master, float* exp_avg, const float* update, Data compute_copy,
                  std::int64_t count, double factor_in, double beta1_in, double decay) {
  const cpu::ComputeCopy copy = cpu::compute_copy_at(compute_copy, 0);
  const auto factor = static_cast<float>(factor_in);
  const auto beta1 = static_cast<float>(beta1_in);
  const auto one_less_beta1 = static_cast<float>(1.0 - beta1_in);
  const auto minus_decay = static_cast<float>(-decay);
  for_each_element(exec, count, [=] __device__(std::int64_t i) {
    float u = update[i] * factor;
    if (exp_avg != nullptr) {
      u = fmaf(one_less_beta1, u, exp_avg[i] * beta1);
      exp_avg[i] = u;
    }
    float w = master[i];
    if (minus_decay != 0.0F) w = fmaf(minus_decay, w, w);
    store_weight(master, copy, i, w - u);
  });
}

}  // namespace dstrain::DSTRAIN_KERNELS
