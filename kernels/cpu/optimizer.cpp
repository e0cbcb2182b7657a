// SPDX-License-Identifier: Apache-2.0
/// Optimizer updates and sums of squares on the CPU: flat shards over threads.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/parallel.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/optimizer_scalars.hpp"
#include "kernels/cpu/simd/functions.hpp"

namespace dstrain::cpu {

namespace {

constexpr IsaTables<OptimizerFunctions> tables = DSTRAIN_ISA_TABLES(optimizer);

}  // namespace

bool has_states(UpdateRule rule, const UpdateArrays& arrays, const UpdateParameters& p) {
  switch (rule) {
    case UpdateRule::adamw:
    case UpdateRule::adam:
    case UpdateRule::adam_late:
      return arrays.state[0] != nullptr && arrays.state[1] != nullptr;
    case UpdateRule::sgd:
      return p.momentum == 0.0 || arrays.state[0] != nullptr;
    case UpdateRule::rmsprop:
      return arrays.state[0] != nullptr && (!p.centered || arrays.state[1] != nullptr) &&
             (p.momentum == 0.0 || arrays.state[2] != nullptr);
    case UpdateRule::adagrad:
    case UpdateRule::lion:
    case UpdateRule::momentum:
      return arrays.state[0] != nullptr;
  }
  return false;
}

UpdateParameters parameters_of(const AdamWParameters& p) {
  UpdateParameters parameters;
  parameters.lr = p.lr;
  parameters.beta1 = p.beta1;
  parameters.beta2 = p.beta2;
  parameters.eps = p.eps;
  parameters.weight_decay = p.weight_decay;
  parameters.step = p.step;
  parameters.gradient_scale = p.gradient_scale;
  return parameters;
}

UpdateScalars scalars_of(UpdateRule rule, const UpdateParameters& p) {
  const auto step = static_cast<double>(p.step);
  const double correction1 = p.bias_correction ? 1.0 - std::pow(p.beta1, step) : 1.0;
  const double correction2 = p.bias_correction ? 1.0 - std::pow(p.beta2, step) : 1.0;
  UpdateScalars a{};
  a.gradient_scale = static_cast<float>(p.gradient_scale);
  a.beta1 = static_cast<float>(p.beta1);
  a.one_less_beta1 = static_cast<float>(1.0 - p.beta1);
  a.beta2 = static_cast<float>(p.beta2);
  a.one_less_beta2 = static_cast<float>(1.0 - p.beta2);
  a.root_correction2 = static_cast<float>(std::sqrt(correction2));
  a.eps = static_cast<float>(p.eps);
  a.momentum = static_cast<float>(p.momentum);
  a.one_less_dampening = static_cast<float>(1.0 - p.dampening);
  a.alpha = static_cast<float>(p.alpha);
  a.one_less_alpha = static_cast<float>(1.0 - p.alpha);
  a.nesterov = p.nesterov;
  a.first_step = p.step == 1;
  const bool decoupled = rule == UpdateRule::adamw || rule == UpdateRule::adam_late || rule == UpdateRule::lion;
  a.decay = decoupled ? static_cast<float>(1.0 - p.lr * p.weight_decay) : 1.0F;
  a.l2 = decoupled ? 0.0F : static_cast<float>(p.weight_decay);
  double step_size = p.lr;
  if (rule == UpdateRule::adamw || rule == UpdateRule::adam) step_size = p.lr / correction1;
  if (rule == UpdateRule::adam_late) step_size = p.lr / (correction1 / std::sqrt(correction2));
  if (rule == UpdateRule::adagrad) step_size = p.lr / (1.0 + (step - 1.0) * p.lr_decay);
  a.minus_step_size = static_cast<float>(-step_size);
  return a;
}

ComputeCopy compute_copy_at(Data copy, std::int64_t begin) {
  if (copy.data == nullptr) return {nullptr, 0};
  if (copy.dtype != DType::bf16 && copy.dtype != DType::f16)
    throw ShapeError(fmt::format("optimizers write compute copies in bf16 or f16, not {}", name_of(copy.dtype)));
  return {copy.at(begin).data, storage_index(copy.dtype, "an optimizer")};
}

void update(const Exec& /*exec*/, UpdateRule rule, const UpdateArrays& arrays, std::int64_t count,
            const UpdateParameters& p) {
  if (!has_states(rule, arrays, p)) throw ShapeError("an optimizer's update lacks a state");
  if (p.gradient_scale_at != nullptr) throw ShapeError("the scale of an update is a number on the CPU");
  (void)compute_copy_at(arrays.compute_copy, 0);
  const auto run = tables.get().update[static_cast<int>(rule)];
  const UpdateScalars scalars = scalars_of(rule, p);
  parallel_for(count, elements_per_thread, [&](std::int64_t begin, std::int64_t end) {
    UpdatePointers at{arrays.master + begin, arrays.gradient + begin, {}, compute_copy_at(arrays.compute_copy, begin)};
    for (std::size_t i = 0; i < arrays.state.size(); ++i) {
      at.state[i] = arrays.state[i] == nullptr ? nullptr : arrays.state[i] + begin;
    }
    run(at, end - begin, scalars);
  });
}

void adamw(const Exec& exec, float* master, float* exp_avg, float* exp_avg_sq, const float* gradient, Data compute_copy,
           std::int64_t count, const AdamWParameters& p) {
  update(exec, UpdateRule::adamw, {master, gradient, {exp_avg, exp_avg_sq, nullptr}, compute_copy}, count,
         parameters_of(p));
}

void adamw_bf16(const Exec& /*exec*/, Data weights, Data exp_avg, Data exp_avg_sq, const float* gradient,
                std::int64_t count, const UpdateParameters& p) {
  for (const Data& array : {weights, exp_avg, exp_avg_sq}) {
    if (array.dtype != DType::bf16) throw ShapeError(fmt::format("adamw_bf16 on {}", name_of(array.dtype)));
  }
  const UpdateScalars s = scalars_of(UpdateRule::adamw, p);
  const auto rounded = [](float x) { return static_cast<float>(bfloat16(x)); };
  auto* w = weights.as<bfloat16>();
  auto* m = exp_avg.as<bfloat16>();
  auto* v = exp_avg_sq.as<bfloat16>();
  parallel_for(count, elements_per_thread, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float g = rounded(rounded(gradient[i]) * s.gradient_scale);
      const float decayed = rounded(static_cast<float>(w[i]) * s.decay);
      const auto before = static_cast<float>(m[i]);
      m[i] = bfloat16(before + s.one_less_beta1 * (g - before));
      v[i] = bfloat16(rounded(static_cast<float>(v[i]) * s.beta2) + s.one_less_beta2 * g * g);
      const float root = rounded(rounded(std::sqrt(static_cast<float>(v[i]))) / s.root_correction2);
      w[i] = bfloat16(decayed + s.minus_step_size * static_cast<float>(m[i]) / rounded(root + s.eps));
    }
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

void add_in_order(const Exec& /*exec*/, double* sum, const double* x, std::int64_t rows, std::int64_t ld,
                  std::int64_t count, bool accumulate) {
  double total = accumulate ? *sum : 0.0;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < count; ++i) total += x[r * ld + i];
  }
  *sum = total;
}

void update_scale(const Exec& /*exec*/, double* norm, double* scale, const double* squares, const double* losses,
                  std::int64_t rows, std::int64_t ld, const ScaleRule& rule) {
  double loss = 0.0;
  for (std::int64_t r = 0; losses != nullptr && r < rows; ++r) loss += losses[r * ld];
  *norm = std::sqrt(*squares) / rule.loss_scale;
  double factor = 1.0;
  if (rule.max_norm > 0) factor = std::min(1.0, rule.max_norm / (*norm + 1e-6));
  const bool finite = std::isfinite(*norm) && std::isfinite(loss);
  *scale = finite ? factor / rule.loss_scale : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace dstrain::cpu
