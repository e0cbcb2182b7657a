// SPDX-License-Identifier: Apache-2.0
/// Activations as plain loops: the definition that the backends are tested against.
#pragma once

#include <cmath>
#include <numbers>

#include "kernels/ops/activation.hpp"

namespace dstrain::reference {

/// An activation and its derivative at one place.
template <typename Real>
struct ActivationAt {
  Real value;
  Real slope;
};

template <typename Real>
ActivationAt<Real> activation_at(Activation kind, Real x) {
  const Real pi = std::numbers::pi_v<Real>;
  switch (kind) {
    case Activation::silu: {
      const Real sigmoid = Real(1) / (Real(1) + std::exp(-x));
      return {x * sigmoid, sigmoid * (Real(1) + x * (Real(1) - sigmoid))};
    }
    case Activation::gelu: {
      const Real phi = std::exp(-x * x / 2) / std::sqrt(2 * pi);
      const Real cumulated = std::erfc(-x / std::sqrt(Real(2))) / 2;
      return {x * cumulated, cumulated + x * phi};
    }
    case Activation::gelu_tanh: {
      const Real c = std::sqrt(2 / pi);
      const Real tanh = std::tanh(c * (x + Real(0.044715) * x * x * x));
      const Real inner = c * (1 + 3 * Real(0.044715) * x * x);
      return {x * (1 + tanh) / 2, (1 + tanh) / 2 + x * (1 - tanh * tanh) * inner / 2};
    }
    case Activation::relu:
      return {x > 0 ? x : Real(0), x > 0 ? Real(1) : Real(0)};
  }
  return {x, Real(1)};
}

/// h = act(gate) * up where gated, else act(x). Local.
template <typename Real>
void activation_forward(Real* h_TF, const Real* x, ActivationShape s) {
  for (std::int64_t t = 0; t < s.T; ++t) {
    for (std::int64_t f = 0; f < s.F; ++f) {
      const Real* row = x + t * (s.gated ? 2 : 1) * s.F;
      h_TF[t * s.F + f] = activation_at(s.kind, row[f]).value * (s.gated ? row[s.F + f] : Real(1));
    }
  }
}

/// dgate = dh * up * act'(gate), dup = dh * act(gate); without a gate dx = dh * act'(x). May be in place. Local.
template <typename Real>
void activation_backward(Real* dx, const Real* dh_TF, const Real* x, ActivationShape s) {
  for (std::int64_t t = 0; t < s.T; ++t) {
    for (std::int64_t f = 0; f < s.F; ++f) {
      const std::int64_t at = t * (s.gated ? 2 : 1) * s.F + f;
      const auto [value, slope] = activation_at(s.kind, x[at]);
      const Real dh = dh_TF[t * s.F + f];
      dx[at] = dh * slope * (s.gated ? x[at + s.F] : Real(1));
      if (s.gated) dx[at + s.F] = dh * value;
    }
  }
}

}  // namespace dstrain::reference
