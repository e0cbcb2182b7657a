// SPDX-License-Identifier: Apache-2.0
/// AdamW and sums of squares on the CPU: flat shards over threads.
#include <cmath>

#include "core/parallel.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/simd/functions.hpp"

namespace dstrain::cpu {

namespace {

constexpr IsaTables<OptimizerFunctions> tables = DSTRAIN_ISA_TABLES(optimizer);

AdamWScalars scalars_of(const AdamWParameters& p) {
  const auto step = static_cast<double>(p.step);
  const double correction1 = 1.0 - std::pow(p.beta1, step);
  const double correction2 = 1.0 - std::pow(p.beta2, step);
  return {.decay = static_cast<float>(1.0 - p.lr * p.weight_decay),
          .one_less_beta1 = static_cast<float>(1.0 - p.beta1),
          .beta2 = static_cast<float>(p.beta2),
          .one_less_beta2 = static_cast<float>(1.0 - p.beta2),
          .root_correction2 = static_cast<float>(std::sqrt(correction2)),
          .eps = static_cast<float>(p.eps),
          .minus_step_size = static_cast<float>(-p.lr / correction1),
          .gradient_scale = static_cast<float>(p.gradient_scale)};
}

}  // namespace

void adamw(const Exec& /*exec*/, float* master, float* exp_avg, float* exp_avg_sq, const float* gradient,
           Data compute_copy, std::int64_t count, const AdamWParameters& p) {
  if (compute_copy.data != nullptr && compute_copy.dtype != DType::bf16) {
    throw ShapeError(fmt::format("adamw writes compute copies in bf16, not {}", name_of(compute_copy.dtype)));
  }
  const auto update = tables.get().adamw;
  const AdamWScalars scalars = scalars_of(p);
  parallel_for(count, elements_per_thread, [&](std::int64_t begin, std::int64_t end) {
    void* copy = compute_copy.data == nullptr ? nullptr : compute_copy.at(begin).data;
    update(master + begin, exp_avg + begin, exp_avg_sq + begin, gradient + begin, copy, end - begin, scalars);
  });
}

void sum_of_squares(const Exec& /*exec*/, double* out, const float* x, std::int64_t count, std::int64_t chunk) {
  if (chunk <= 0) throw ShapeError(fmt::format("sum_of_squares: chunks of {} elements", chunk));
  const auto sum = tables.get().sum_of_squares;
  parallel_for((count + chunk - 1) / chunk, rows_grain(chunk), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) {
      const std::int64_t stop = (c + 1) * chunk < count ? (c + 1) * chunk : count;
      out[c] = sum(x + c * chunk, stop - c * chunk);
    }
  });
}

}  // namespace dstrain::cpu
