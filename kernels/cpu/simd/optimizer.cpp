// SPDX-License-Identifier: Apache-2.0
/// Optimizer updates in one pass over their arrays, and sums of squares in f64 with an order that no instruction set
/// changes.
#include "kernels/cpu/simd/optimizer_steps.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

/// exp_avg.lerp_(g, weight): torch's lerp starts from the nearer end, for weight >= 0.5 from the gradient.
DSTRAIN_INLINE VecF lerp(VecF m, VecF g, float weight) {
  return weight < 0.5F ? fma(broadcast(weight), g - m, m) : fma(broadcast(weight - 1.0F), g - m, g);
}

/// The gradient as the rule sees it: scaled, with a coupled decay added.
template <typename Part>
DSTRAIN_INLINE VecF gradient_of(const UpdatePointers& p, std::int64_t i, const UpdateScalars& a, VecF weight,
                                Part part) {
  const VecF g = load(p.gradient + i, part) * a.gradient_scale;
  return a.l2 != 0.0F ? fma(broadcast(a.l2), weight, g) : g;
}

// The order of operations is torch's single-tensor one: lerp, mul, addcmul, sqrt / div / add, addcdiv.

DSTRAIN_FLATTEN void adamw(const UpdatePointers& p, std::int64_t count, const UpdateScalars& scalars) {
  const UpdateScalars a = scalars;
  for_lanes(count, [&](std::int64_t i, auto part) {
    const VecF w = load(p.master + i, part);
    const VecF g = gradient_of(p, i, a, w, part);
    const VecF m = lerp(load(p.state[0] + i, part), g, a.one_less_beta1);
    const VecF v = fma(a.one_less_beta2 * g, g, load(p.state[1] + i, part) * a.beta2);
    const VecF denominator = sqrt(v) / a.root_correction2 + a.eps;
    store(p.state[0] + i, m, part);
    store(p.state[1] + i, v, part);
    store_weight(p.master, p.copy, i, w * a.decay + a.minus_step_size * m / denominator, part);
  });
}

DSTRAIN_FLATTEN void adam_late(const UpdatePointers& p, std::int64_t count, const UpdateScalars& scalars) {
  const UpdateScalars a = scalars;
  for_lanes(count, [&](std::int64_t i, auto part) {
    const VecF g = load(p.gradient + i, part) * a.gradient_scale;
    const VecF m = lerp(load(p.state[0] + i, part), g, a.one_less_beta1);
    const VecF v = lerp(load(p.state[1] + i, part), g * g, a.one_less_beta2);
    const VecF direction = m / (sqrt(v) + a.eps);
    store(p.state[0] + i, m, part);
    store(p.state[1] + i, v, part);
    const VecF w = load(p.master + i, part) * a.decay;
    store_weight(p.master, p.copy, i, fma(broadcast(a.minus_step_size), direction, w), part);
  });
}

DSTRAIN_FLATTEN void sgd(const UpdatePointers& p, std::int64_t count, const UpdateScalars& scalars) {
  const UpdateScalars a = scalars;
  for_lanes(count, [&](std::int64_t i, auto part) {
    const VecF w = load(p.master + i, part);
    VecF g = gradient_of(p, i, a, w, part);
    if (a.momentum != 0.0F) {
      VecF buffer = g;  // torch's first buffer is the gradient, undamped
      if (!a.first_step) buffer = fma(broadcast(a.one_less_dampening), g, load(p.state[0] + i, part) * a.momentum);
      store(p.state[0] + i, buffer, part);
      g = a.nesterov ? fma(broadcast(a.momentum), buffer, g) : buffer;
    }
    store_weight(p.master, p.copy, i, fma(broadcast(a.minus_step_size), g, w), part);
  });
}

DSTRAIN_FLATTEN void adagrad(const UpdatePointers& p, std::int64_t count, const UpdateScalars& scalars) {
  const UpdateScalars a = scalars;
  for_lanes(count, [&](std::int64_t i, auto part) {
    const VecF w = load(p.master + i, part);
    const VecF g = gradient_of(p, i, a, w, part);
    const VecF sum = fma(g, g, load(p.state[0] + i, part));
    store(p.state[0] + i, sum, part);
    store_weight(p.master, p.copy, i, w + a.minus_step_size * g / (sqrt(sum) + a.eps), part);
  });
}

DSTRAIN_FLATTEN void rmsprop(const UpdatePointers& p, std::int64_t count, const UpdateScalars& scalars) {
  const UpdateScalars a = scalars;
  for_lanes(count, [&](std::int64_t i, auto part) {
    const VecF w = load(p.master + i, part);
    const VecF g = gradient_of(p, i, a, w, part);
    const VecF square = fma(a.one_less_alpha * g, g, load(p.state[0] + i, part) * a.alpha);
    store(p.state[0] + i, square, part);
    VecF variance = square;
    if (p.state[1] != nullptr) {
      const VecF mean = lerp(load(p.state[1] + i, part), g, a.one_less_alpha);
      store(p.state[1] + i, mean, part);
      variance = fma(-mean, mean, square);
    }
    const VecF root = sqrt(variance) + a.eps;
    if (p.state[2] != nullptr) {
      const VecF buffer = load(p.state[2] + i, part) * a.momentum + g / root;
      store(p.state[2] + i, buffer, part);
      store_weight(p.master, p.copy, i, fma(broadcast(a.minus_step_size), buffer, w), part);
    } else {
      store_weight(p.master, p.copy, i, w + a.minus_step_size * g / root, part);
    }
  });
}

DSTRAIN_FLATTEN void lion(const UpdatePointers& p, std::int64_t count, const UpdateScalars& scalars) {
  const UpdateScalars a = scalars;
  for_lanes(count, [&](std::int64_t i, auto part) {
    const VecF g = load(p.gradient + i, part) * a.gradient_scale;
    const VecF m = load(p.state[0] + i, part);
    const VecF direction = sign(fma(broadcast(a.one_less_beta1), g, m * a.beta1));
    store(p.state[0] + i, fma(broadcast(a.one_less_beta2), g, m * a.beta2), part);
    const VecF w = load(p.master + i, part) * a.decay;
    store_weight(p.master, p.copy, i, fma(broadcast(a.minus_step_size), direction, w), part);
  });
}

DSTRAIN_FLATTEN void momentum(const UpdatePointers& p, std::int64_t count, const UpdateScalars& scalars) {
  const UpdateScalars a = scalars;
  for_lanes(count, [&](std::int64_t i, auto part) {
    const VecF g = load(p.gradient + i, part) * a.gradient_scale;
    const VecF buffer = load(p.state[0] + i, part) * a.momentum + g;
    store(p.state[0] + i, buffer, part);
    store(p.master + i, a.nesterov ? fma(broadcast(a.momentum), buffer, g) : buffer, part);
  });
}

/// Element i of every 16 goes to sum i % 16, whatever the width of a vector; the square of a float is exact in f64, so
/// that a fused multiply-add changes no bit.
constexpr int sums = 16;
constexpr int doubles = lanes / 2;

DSTRAIN_FLATTEN double sum_of_squares(const float* x, std::int64_t count) {
  alignas(64) double lane[sums] = {};
  VecD s[sums / doubles] = {};
  std::int64_t i = 0;
  for (; i + sums <= count; i += sums) {
    for (int k = 0; k < sums / doubles; ++k) {
      HalfF half;
      __builtin_memcpy(&half, x + i + k * doubles, sizeof half);
      const VecD v = __builtin_convertvector(half, VecD);
      s[k] += v * v;
    }
  }
  __builtin_memcpy(lane, s, sizeof lane);
  for (int k = 0; i < count; ++i, ++k) lane[k] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  for (int width = sums / 2; width > 0; width /= 2) {
    for (int k = 0; k < width; ++k) lane[k] += lane[k + width];
  }
  return lane[0];
}

}  // namespace

const OptimizerFunctions optimizer = {
    {adamw, adamw, adam_late, sgd, adagrad, rmsprop, lion, momentum},
    sum_of_squares,
};

}  // namespace dstrain::cpu::DSTRAIN_ISA
