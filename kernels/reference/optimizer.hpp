// SPDX-License-Identifier: Apache-2.0
/// Optimizer updates as plain loops: the definitions that the backends are tested against.
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

/// The numbers of one element: its weight, the states of its rule in the order that UpdateRule names them.
template <typename Real>
struct Element {
  Real weight;
  Real state[3];
};

/// One element's update by `rule`, from the formulas of the papers and of torch's documentation. Local.
template <typename Real>
void update(UpdateRule rule, Element<Real>& e, Real gradient, const UpdateParameters& p) {
  const auto step = static_cast<double>(p.step);
  const Real correction1 = p.bias_correction ? 1.0 - std::pow(p.beta1, step) : 1.0;
  const Real correction2 = p.bias_correction ? 1.0 - std::pow(p.beta2, step) : 1.0;
  const Real lr = p.lr;
  Real g = gradient * static_cast<Real>(p.gradient_scale);
  const bool decoupled = rule == UpdateRule::adamw || rule == UpdateRule::adam_late || rule == UpdateRule::lion;
  if (!decoupled && rule != UpdateRule::momentum) g += static_cast<Real>(p.weight_decay) * e.weight;
  if (decoupled) e.weight -= lr * static_cast<Real>(p.weight_decay) * e.weight;
  const auto average = [](Real& mean, double beta, Real value) {
    mean = static_cast<Real>(beta) * mean + static_cast<Real>(1.0 - beta) * value;
  };
  switch (rule) {
    case UpdateRule::adamw:
    case UpdateRule::adam:
      average(e.state[0], p.beta1, g);
      average(e.state[1], p.beta2, g * g);
      e.weight -= lr * (e.state[0] / correction1) / (std::sqrt(e.state[1] / correction2) + static_cast<Real>(p.eps));
      break;
    case UpdateRule::adam_late:
      average(e.state[0], p.beta1, g);
      average(e.state[1], p.beta2, g * g);
      e.weight -=
          lr * std::sqrt(correction2) / correction1 * e.state[0] / (std::sqrt(e.state[1]) + static_cast<Real>(p.eps));
      break;
    case UpdateRule::sgd:
      if (p.momentum != 0.0) {
        Real& buffer = e.state[0];
        buffer = p.step == 1 ? g : static_cast<Real>(p.momentum) * buffer + static_cast<Real>(1.0 - p.dampening) * g;
        g = p.nesterov ? g + static_cast<Real>(p.momentum) * buffer : buffer;
      }
      e.weight -= lr * g;
      break;
    case UpdateRule::adagrad:
      e.state[0] += g * g;
      e.weight -= lr / (1.0 + (step - 1.0) * p.lr_decay) * g / (std::sqrt(e.state[0]) + static_cast<Real>(p.eps));
      break;
    case UpdateRule::rmsprop: {
      average(e.state[0], p.alpha, g * g);
      if (p.centered) average(e.state[1], p.alpha, g);
      const Real variance = p.centered ? e.state[0] - e.state[1] * e.state[1] : e.state[0];
      Real direction = g / (std::sqrt(variance) + static_cast<Real>(p.eps));
      if (p.momentum != 0.0) direction = e.state[2] = static_cast<Real>(p.momentum) * e.state[2] + direction;
      e.weight -= lr * direction;
      break;
    }
    case UpdateRule::lion: {
      const Real blend = static_cast<Real>(p.beta1) * e.state[0] + static_cast<Real>(1.0 - p.beta1) * g;
      average(e.state[0], p.beta2, g);
      e.weight -= lr * static_cast<Real>((blend > 0) - (blend < 0));
      break;
    }
    case UpdateRule::momentum:
      e.state[0] = static_cast<Real>(p.momentum) * e.state[0] + g;
      e.weight = p.nesterov ? g + static_cast<Real>(p.momentum) * e.state[0] : e.state[0];
      break;
  }
}

}  // namespace dstrain::reference
