// SPDX-License-Identifier: Apache-2.0
/// Optimizer updates and norms over flat shards.
#pragma once

#include <array>

#include "kernels/ops/common.hpp"

namespace dstrain {

/// One AdamW update. lr, weight_decay, ... as torch.optim.AdamW; `step` counts from 1.
struct AdamWParameters {
  double lr;
  double beta1;
  double beta2;
  double eps;
  double weight_decay;
  std::int64_t step;
  double gradient_scale;  ///< gradients are multiplied by it first (clipping, loss scale)
};

/// Updates of one element from its gradient and its own states. Each is one pass over f32 arrays.
enum class UpdateRule : std::uint8_t {
  adamw,      ///< ops::adamw; states exp_avg, exp_avg_sq
  adam,       ///< torch.optim.Adam: the decay is added to the gradient; states as adamw
  adam_late,  ///< Moonlight's AdamW beside Muon: eps is added before the bias correction; states as adamw
  sgd,        ///< torch.optim.SGD; state momentum_buffer where momentum is not 0
  adagrad,    ///< torch.optim.Adagrad; state sum
  rmsprop,    ///< torch.optim.RMSprop; states square_avg, grad_avg (centered), momentum_buffer (momentum)
  lion,       ///< Chen et al., arXiv:2302.06675; state exp_avg
  momentum    ///< b = momentum * b + g; the direction, b or with nesterov g + momentum * b, goes to `master`, which may
              ///< be `gradient`: what Muon orthogonalises. State momentum_buffer
};

/// The numbers of one update. A rule reads those that its formula has.
struct UpdateParameters {
  double lr = 0.0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.0;
  double momentum = 0.0;
  double dampening = 0.0;
  double alpha = 0.99;    ///< rmsprop: decay of the mean square
  double lr_decay = 0.0;  ///< adagrad: lr / (1 + (step - 1) * lr_decay)
  bool nesterov = false;
  bool centered = false;
  bool bias_correction = true;
  std::int64_t step = 1;        ///< counts from 1
  double gradient_scale = 1.0;  ///< gradients are multiplied by it first (clipping, loss scale)
  /// Kernels of a GPU only: set, the number that stands there when the kernel runs takes gradient_scale's place
  /// (ops::update_scale), and where that is NaN the update changes nothing. Memory of the device.
  const double* gradient_scale_at = nullptr;
};

/// What makes the scale of an update out of a gradient's norm.
struct ScaleRule {
  double max_norm = 0.0;    ///< 0: no clipping
  double loss_scale = 1.0;  ///< that the gradients carry
};

/// The arrays of one update, elements in the same order in all of them.
struct UpdateArrays {
  float* master = nullptr;
  const float* gradient = nullptr;
  std::array<float*, 3> state{};  ///< in the order that the rule names them; null where the parameters leave one out
  Data compute_copy;              ///< bf16 or f16, written beside the master; data may be null
};

namespace ops {
/// p *= 1 - lr * wd;  m = m + (1 - b1) (g - m);  v = b2 v + (1 - b2) g g;  p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1
/// - b2^t) + eps) in one pass over f32 master weights, moments and gradient; writes `compute_copy` (bf16 or f16) too
/// where its data is not null. Local. Loshchilov and Hutter, arXiv:1711.05101; order of operations of torch.optim.AdamW
/// (single tensor).
void adamw(const Exec& exec, float* master, float* exp_avg, float* exp_avg_sq, const float* gradient, Data compute_copy,
           std::int64_t count, const AdamWParameters& p);

/// One update of `count` elements by `rule`; formulas and order of operations are those of the program that each rule
/// names (torch's single-tensor form). Local.
/// @throws ShapeError  a state that the rule needs is null, or a compute copy of another dtype
void update(const Exec& exec, UpdateRule rule, const UpdateArrays& arrays, std::int64_t count,
            const UpdateParameters& p);

/// torch.optim.AdamW on bf16 parameters: weights, gradient and both moments are bf16, and so is what each of its
/// operations leaves behind (single-tensor form). There is no f32 copy of anything. `gradient` is f32 where it was
/// summed and rounded first, then scaled and rounded again. Local.
/// @param weights, exp_avg, exp_avg_sq  bf16 [count]
void adamw_bf16(const Exec& exec, Data weights, Data exp_avg, Data exp_avg_sq, const float* gradient,
                std::int64_t count, const UpdateParameters& p);

/// out[c] = sum of squares, in f64, of elements [c * chunk, (c+1) * chunk) of x; the last chunk may be short.
/// The order of a sum depends on `chunk` alone.
void sum_of_squares(const Exec& exec, double* out, const float* x, std::int64_t count, std::int64_t chunk);

/// sum (+)= x[r * ld + i], i in [0, count), row after row, one number after the other. Local.
void add_in_order(const Exec& exec, double* sum, const double* x, std::int64_t rows, std::int64_t ld,
                  std::int64_t count, bool accumulate);

/// norm = sqrt(squares) / loss_scale;  scale = min(1, max_norm / (norm + 1e-6)) / loss_scale: torch's clip_grad_norm_.
/// The scale is NaN where the norm is not finite, or the sum of `losses` is not. Local.
/// @param losses  element r * ld of each of `rows` ranks; null: not looked at
void update_scale(const Exec& exec, double* norm, double* scale, const double* squares, const double* losses,
                  std::int64_t rows, std::int64_t ld, const ScaleRule& rule);
}  // namespace ops

}  // namespace dstrain
