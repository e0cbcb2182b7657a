// SPDX-License-Identifier: Apache-2.0
/// Optimizer updates and norms over flat shards.
#pragma once

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

namespace ops {
/// p *= 1 - lr * wd;  m = m + (1 - b1) (g - m);  v = b2 v + (1 - b2) g g;  p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1
/// - b2^t) + eps) in one pass over f32 master weights, moments and gradient; writes `compute_copy` (bf16) too where its
/// data is not null. Local. Loshchilov and Hutter, arXiv:1711.05101; order of operations of torch.optim.AdamW (single
/// tensor).
void adamw(const Exec& exec, float* master, float* exp_avg, float* exp_avg_sq, const float* gradient, Data compute_copy,
           std::int64_t count, const AdamWParameters& p);

/// out[c] = sum of squares, in f64, of elements [c * chunk, (c+1) * chunk) of x; the last chunk may be short.
/// The order of a sum depends on `chunk` alone.
void sum_of_squares(const Exec& exec, double* out, const float* x, std::int64_t count, std::int64_t chunk);
}  // namespace ops

}  // namespace dstrain
