// SPDX-License-Identifier: Apache-2.0
/// Optimizer updates in one pass over their arrays, and sums of squares by chunks. Orders of operations are those of
/// kernels/cpu/simd/optimizer.cpp, fused multiply-adds included: the same bits.
#include "kernels/cuda/optimizer_steps.cuh"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

struct Pointers {
  float* master;
  const float* gradient;
  float* state[3];
  cpu::ComputeCopy copy;
};

/// The gradient as the rule sees it: scaled, with a coupled decay added.
DSTRAIN_DEVICE float gradient_of(const Pointers& p, std::int64_t i, const cpu::UpdateScalars& a, float w) {
  const float g = p.gradient[i] * a.gradient_scale;
  return a.l2 != 0.0F ? fmaf(a.l2, w, g) : g;
}

// The order of operations is torch's single-tensor one: lerp, mul, addcmul, sqrt / div / add, addcdiv.
template <UpdateRule rule>
DSTRAIN_DEVICE void step_element(const Pointers& p, std::int64_t i, const cpu::UpdateScalars& a) {
  if constexpr (rule == UpdateRule::adamw || rule == UpdateRule::adam) {
    const float w = p.master[i];
    const float g = gradient_of(p, i, a, w);
    const float m = lerp(p.state[0][i], g, a.one_less_beta1);
    const float v = fmaf(a.one_less_beta2 * g, g, p.state[1][i] * a.beta2);
    const float denominator = sqrtf(v) / a.root_correction2 + a.eps;
    p.state[0][i] = m;
    p.state[1][i] = v;
    store_weight(p.master, p.copy, i, w * a.decay + a.minus_step_size * m / denominator);
  } else if constexpr (rule == UpdateRule::adam_late) {
    const float g = p.gradient[i] * a.gradient_scale;
    const float m = lerp(p.state[0][i], g, a.one_less_beta1);
    const float v = lerp(p.state[1][i], g * g, a.one_less_beta2);
    const float direction = m / (sqrtf(v) + a.eps);
    p.state[0][i] = m;
    p.state[1][i] = v;
    store_weight(p.master, p.copy, i, fmaf(a.minus_step_size, direction, p.master[i] * a.decay));
  } else if constexpr (rule == UpdateRule::sgd) {
    const float w = p.master[i];
    float g = gradient_of(p, i, a, w);
    if (a.momentum != 0.0F) {
      float buffer = g;  // torch's first buffer is the gradient, undamped
      if (!a.first_step) buffer = fmaf(a.one_less_dampening, g, p.state[0][i] * a.momentum);
      p.state[0][i] = buffer;
      g = a.nesterov ? fmaf(a.momentum, buffer, g) : buffer;
    }
    store_weight(p.master, p.copy, i, fmaf(a.minus_step_size, g, w));
  } else if constexpr (rule == UpdateRule::adagrad) {
    const float w = p.master[i];
    const float g = gradient_of(p, i, a, w);
    const float sum = fmaf(g, g, p.state[0][i]);
    p.state[0][i] = sum;
    store_weight(p.master, p.copy, i, w + a.minus_step_size * g / (sqrtf(sum) + a.eps));
  } else if constexpr (rule == UpdateRule::rmsprop) {
    const float w = p.master[i];
    const float g = gradient_of(p, i, a, w);
    const float square = fmaf(a.one_less_alpha * g, g, p.state[0][i] * a.alpha);
    p.state[0][i] = square;
    float variance = square;
    if (p.state[1] != nullptr) {
      const float mean = lerp(p.state[1][i], g, a.one_less_alpha);
      p.state[1][i] = mean;
      variance = fmaf(-mean, mean, square);
    }
    const float root = sqrtf(variance) + a.eps;
    if (p.state[2] != nullptr) {
      const float buffer = p.state[2][i] * a.momentum + g / root;
      p.state[2][i] = buffer;
      store_weight(p.master, p.copy, i, fmaf(a.minus_step_size, buffer, w));
    } else {
      store_weight(p.master, p.copy, i, w + a.minus_step_size * g / root);
    }
  } else if constexpr (rule == UpdateRule::lion) {
    const float g = p.gradient[i] * a.gradient_scale;
    const float m = p.state[0][i];
    const float direction = sign(fmaf(a.one_less_beta1, g, m * a.beta1));
    p.state[0][i] = fmaf(a.one_less_beta2, g, m * a.beta2);
    store_weight(p.master, p.copy, i, fmaf(a.minus_step_size, direction, p.master[i] * a.decay));
  } else {
    const float g = p.gradient[i] * a.gradient_scale;
    const float buffer = p.state[0][i] * a.momentum + g;
    p.state[0][i] = buffer;
    p.master[i] = a.nesterov ? fmaf(a.momentum, buffer, g) : buffer;
  }
}

template <UpdateRule rule>
void update_as(const Exec& exec, const Pointers& p, std::int64_t count, const cpu::UpdateScalars& a,
               const double* scale_at) {
  if (scale_at == nullptr) {
    for_each_element(exec, count, [=] __device__(std::int64_t i) { step_element<rule>(p, i, a); });
    return;
  }
  for_each_element(exec, count, [=] __device__(std::int64_t i) {
    cpu::UpdateScalars scaled = a;
    if (take_scale(scaled, scale_at)) step_element<rule>(p, i, scaled);
  });
}

constexpr int chunk_threads = 256;

/// One block per chunk: each thread every 256th element in ascending order, then the block's sums in a fixed order.
__global__ void sum_of_squares_kernel(double* out, const float* x, std::int64_t count, std::int64_t chunk) {
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * chunk;
  const std::int64_t end = begin + chunk < count ? begin + chunk : count;
  double sum = 0.0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    const double v = x[i];
    sum += v * v;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

constexpr int ordered_threads = 256;

/// One block: its threads bring the numbers to shared memory, one adds them in order.
__global__ void add_in_order_kernel(double* sum, const double* x, std::int64_t rows, std::int64_t ld,
                                    std::int64_t count, bool accumulate) {
  DSTRAIN_SHARED(double, brought, ordered_threads);
  const int me = static_cast<int>(threadIdx.x);
  double total = accumulate ? *sum : 0.0;
  for (std::int64_t begin = 0; begin < rows * count; begin += ordered_threads) {
    const std::int64_t i = begin + me;
    if (i < rows * count) brought[me] = x[i / count * ld + i % count];
    __syncthreads();
    const std::int64_t left = rows * count - begin;
    const int here = left < ordered_threads ? static_cast<int>(left) : ordered_threads;
    if (me == 0) {
      for (int k = 0; k < here; ++k) total += brought[k];
    }
    __syncthreads();
  }
  if (me == 0) *sum = total;
}

__global__ void update_scale_kernel(double* norm, double* scale, const double* squares, const double* losses,
                                    std::int64_t rows, std::int64_t ld, ScaleRule rule) {
  if (threadIdx.x != 0) return;
  double loss = 0.0;
  for (std::int64_t r = 0; losses != nullptr && r < rows; ++r) loss += losses[r * ld];
  const double length = sqrt(*squares) / rule.loss_scale;
  double factor = 1.0;
  if (rule.max_norm > 0.0) factor = rule.max_norm / (length + 1e-6) < 1.0 ? rule.max_norm / (length + 1e-6) : 1.0;
  // x - x is 0 for finite numbers alone.
  const bool finite = length - length == 0.0 && loss - loss == 0.0;
  *norm = length;
  *scale = finite ? factor / rule.loss_scale : static_cast<double>(NAN);
}

/// One element of cpu::adamw_bf16: the same order of operations, each rounded to bf16.
__global__ void adamw_bf16_kernel(Bf16* w, Bf16* m, Bf16* v, const float* gradient, std::int64_t count,
                                  cpu::UpdateScalars s, const double* scale_at) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count || !take_scale(s, scale_at)) return;
  const float g = rounded<Bf16>(rounded<Bf16>(gradient[i]) * s.gradient_scale);
  const float decayed = rounded<Bf16>(widen(w[i]) * s.decay);
  const float before = widen(m[i]);
  narrow(m[i], before + s.one_less_beta1 * (g - before));
  narrow(v[i], rounded<Bf16>(widen(v[i]) * s.beta2) + s.one_less_beta2 * g * g);
  const float root = rounded<Bf16>(rounded<Bf16>(sqrtf(widen(v[i]))) / s.root_correction2);
  narrow(w[i], decayed + s.minus_step_size * widen(m[i]) / rounded<Bf16>(root + s.eps));
}

}  // namespace

void update(const Exec& exec, UpdateRule rule, const UpdateArrays& arrays, std::int64_t count,
            const UpdateParameters& parameters) {
  if (!cpu::has_states(rule, arrays, parameters)) fail_shape("an optimizer's update lacks a state");
  const Pointers p{arrays.master,
                   arrays.gradient,
                   {arrays.state[0], arrays.state[1], arrays.state[2]},
                   cpu::compute_copy_at(arrays.compute_copy, 0)};
  const cpu::UpdateScalars a = cpu::scalars_of(rule, parameters);
  switch (rule) {
    case UpdateRule::adamw:
      return update_as<UpdateRule::adamw>(exec, p, count, a, parameters.gradient_scale_at);
    case UpdateRule::adam:
      return update_as<UpdateRule::adam>(exec, p, count, a, parameters.gradient_scale_at);
    case UpdateRule::adam_late:
      return update_as<UpdateRule::adam_late>(exec, p, count, a, parameters.gradient_scale_at);
    case UpdateRule::sgd:
      return update_as<UpdateRule::sgd>(exec, p, count, a, parameters.gradient_scale_at);
    case UpdateRule::adagrad:
      return update_as<UpdateRule::adagrad>(exec, p, count, a, parameters.gradient_scale_at);
    case UpdateRule::rmsprop:
      return update_as<UpdateRule::rmsprop>(exec, p, count, a, parameters.gradient_scale_at);
    case UpdateRule::lion:
      return update_as<UpdateRule::lion>(exec, p, count, a, parameters.gradient_scale_at);
    case UpdateRule::momentum:
      return update_as<UpdateRule::momentum>(exec, p, count, a, parameters.gradient_scale_at);
  }
}

void adamw(const Exec& exec, float* master, float* exp_avg, float* exp_avg_sq, const float* gradient, Data compute_copy,
           std::int64_t count, const AdamWParameters& p) {
  update(exec, UpdateRule::adamw, {master, gradient, {exp_avg, exp_avg_sq, nullptr}, compute_copy}, count,
         cpu::parameters_of(p));
}

void adamw_bf16(const Exec& exec, Data weights, Data exp_avg, Data exp_avg_sq, const float* gradient,
                std::int64_t count, const UpdateParameters& p) {
  for (const Data& array : {weights, exp_avg, exp_avg_sq}) {
    if (array.dtype != DType::bf16) fail_shape(text_of("adamw_bf16 on {}", name_of(array.dtype)));
  }
  if (count == 0) return;
  launch(adamw_bf16_kernel, exec, {div_up(count, 256)}, 256, 0, weights.as<Bf16>(), exp_avg.as<Bf16>(),
         exp_avg_sq.as<Bf16>(), gradient, count, cpu::scalars_of(UpdateRule::adamw, p), p.gradient_scale_at);
}

void sum_of_squares(const Exec& exec, double* out, const float* x, std::int64_t count, std::int64_t chunk) {
  if (chunk <= 0) fail_shape(text_of("sum_of_squares: chunks of {} elements", chunk));
  launch(sum_of_squares_kernel, exec, {div_up(count, chunk)}, chunk_threads, 0, out, x, count, chunk);
}

void add_in_order(const Exec& exec, double* sum, const double* x, std::int64_t rows, std::int64_t ld,
                  std::int64_t count, bool accumulate) {
  launch(add_in_order_kernel, exec, {1}, ordered_threads, 0, sum, x, rows, ld, count, accumulate);
}

void update_scale(const Exec& exec, double* norm, double* scale, const double* squares, const double* losses,
                  std::int64_t rows, std::int64_t ld, const ScaleRule& rule) {
  launch(update_scale_kernel, exec, {1}, 32, 0, norm, scale, squares, losses, rows, ld, rule);
}

}  // namespace dstrain::DSTRAIN_KERNELS
