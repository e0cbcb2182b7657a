// SPDX-License-Identifier: Apache-2.0
/// AdamW as a plain loop: the definition that the backends are tested against.
#pragma once

#include <cmath>

#include "kernels/ops/optimizer.hpp"

namespace dstrain::reference {

/// p *= 1 - lr * wd;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p -= lr / (1 - b1^t) * m / (sqrt(v / (1 -
/// b2^t)) + eps) with g = gradient * gradient_scale. Loshchilov and Hutter, arXiv:1711.05101, algorithm 2, with the
/// schedule in lr. Local.
template <typename Real>
void adamw(Real* master, Real* exp_avg, Real* exp_avg_sq, const Real* gradient, std::int64_t count,
           const AdamWParameters& p) {
  const auto step = static_cast<double>(p.step);
  const Real correction1 = 1.0 - std::pow(p.beta1, step);
  const Real correction2 = 1.0 - std::pow(p.beta2, step);
  for (std::int64_t i = 0; i < count; ++i) {
    const Real g = gradient[i] * static_cast<Real>(p.gradient_scale);
    exp_avg[i] = static_cast<Real>(p.beta1) * exp_avg[i] + static_cast<Real>(1.0 - p.beta1) * g;
    exp_avg_sq[i] = static_cast<Real>(p.beta2) * exp_avg_sq[i] + static_cast<Real>(1.0 - p.beta2) * g * g;
    master[i] -= static_cast<Real>(p.lr * p.weight_decay) * master[i];
    master[i] -= static_cast<Real>(p.lr) * (exp_avg[i] / correction1) /
                 (std::sqrt(exp_avg_sq[i] / correction2) + static_cast<Real>(p.eps));
  }
}

}  // namespace dstrain::reference
