// SPDX-License-Identifier: Apache-2.0
/// Activation functions of feed-forward layers, with and without a gate.
#pragma once

#include "kernels/ops/common.hpp"

namespace dstrain {

enum class Activation : std::uint8_t {
  silu,       ///< x / (1 + e^-x)
  gelu,       ///< x Phi(x), Phi the normal distribution's
  gelu_tanh,  ///< x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2
  relu        ///< max(x, 0)
};

/// x is [T, 2F], gate first, where `gated`: h = act(gate) * up; else [T, F]: h = act(x).
struct ActivationShape {
  std::int64_t T;
  std::int64_t F;
  Activation kind = Activation::silu;
  bool gated = true;
};

namespace ops {
/// h [T, F] of x. Local. Hendrycks and Gimpel, arXiv:1606.08415 (GELU); Shazeer, arXiv:2002.05202 (gates).
void activation_forward(const Exec& exec, Data h_TF, ConstData x, ActivationShape s);
/// Gradient of x, in x's shape; may be written over x itself.
void activation_backward(const Exec& exec, Data dx, ConstData dh_TF, ConstData x, ActivationShape s);
}  // namespace ops

}  // namespace dstrain
