// SPDX-License-Identifier: Apache-2.0
/// What an optimizer is told once, at the start of a run.
#pragma once

#include <optional>

#include "kernels/ops/optimizer.hpp"

namespace dstrain {

enum class OptimizerKind : std::uint8_t {
  adamw,       ///< torch.optim.AdamW
  adam,        ///< torch.optim.Adam: decay in the gradient
  sgd,         ///< torch.optim.SGD
  adagrad,     ///< torch.optim.Adagrad
  rmsprop,     ///< torch.optim.RMSprop
  lion,        ///< Lion
  adafactor,   ///< transformers' Adafactor
  adamw_8bit,  ///< bitsandbytes' AdamW with 8-bit states
  lion_8bit,   ///< bitsandbytes' Lion with 8-bit states
  lamb,        ///< DeepSpeed's FusedLamb
  muon         ///< Muon on hidden matrices, AdamW on the rest
};

/// Numbers keep the names and defaults of the programs that the kinds follow; each kind reads its own.
struct OptimizerSettings {
  OptimizerKind kind = OptimizerKind::adamw;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  bool bias_correction = true;
  bool pure_bf16 = false;  ///< adamw: weights and states in bf16, and no f32 masters (ops::adamw_bf16)

  double momentum = 0.0;  ///< sgd, rmsprop; muon: 0.95
  double dampening = 0.0;
  bool nesterov = false;
  double alpha = 0.99;  ///< rmsprop
  bool centered = false;
  double lr_decay = 0.0;  ///< adagrad

  // adafactor
  double eps_gradient = 1e-30;       ///< added to squared gradients
  double eps_scale = 1e-3;           ///< smallest root mean square of a tensor, for scale_parameter
  double clip_threshold = 1.0;       ///< of the update's root mean square
  double decay_rate = -0.8;          ///< beta2 of step t is 1 - t^decay_rate
  std::optional<double> first_beta;  ///< set: updates are averaged with it
  bool scale_parameter = false;      ///< the rate is relative to the tensor's root mean square

  double max_coeff = 10.0;  ///< lamb: bounds of a tensor's trust ratio
  double min_coeff = 0.01;

  int newton_schulz_steps = 5;  ///< muon
};

/// What changes from step to step.
struct StepParameters {
  double lr = 0.0;
  std::int64_t step = 1;                      ///< optimizer steps so far with this one: skipped ones do not count
  double gradient_scale = 1.0;                ///< clip factor, and one over the loss scale
  const double* gradient_scale_at = nullptr;  ///< as in UpdateParameters: takes its place on a GPU
  std::optional<double> beta1 = {};           ///< a schedule that cycles momentum sets both
  std::optional<double> beta2 = {};
};

}  // namespace dstrain
