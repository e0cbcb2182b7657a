// SPDX-License-Identifier: Apache-2.0
#include "model/norm.hpp"

#include "core/error.hpp"
#include "kernels/ops/elementwise.hpp"
#include "kernels/ops/layer_norm.hpp"
#include "kernels/ops/rms_norm.hpp"
#include "model/linear.hpp"

namespace dstrain {

namespace {

/// Where the gradient of `tensor` goes, or null where there is none to make.
float* gradient_of(const UnitGradient& g, const TensorLayout* tensor) {
  return tensor != nullptr && tensor->part == PartKind::trainable ? g.of(*tensor) : nullptr;
}

/// Both numbers of a row's statistics; the means stand behind all deviations of the call.
LayerNormStatistics statistics(float* kept, std::int64_t T) { return {.mean_T = kept + T, .rstd_T = kept}; }

}  // namespace

Norm::Norm(const ModelSpec& spec, const ModelLayout& layout, int unit, const std::string& module)
    : kind_(spec.norm),
      eps_(static_cast<float>(spec.norm_eps)),
      D_(spec.hidden_size),
      weight_(find_in_unit(layout, unit, module + ".weight")),
      bias_(find_in_unit(layout, unit, module + ".bias")) {
  DSTRAIN_CHECK(weight_ != nullptr, "unit {} has no norm {}", unit, module);
}

void Norm::forward(const Exec& exec, const UnitWeights& w, Data y, Data sum, float* kept, ConstData x, ConstData r,
                   std::int64_t T) const {
  if (kind_ == NormKind::layer) {
    ops::layer_norm_forward(exec, y, sum, statistics(kept, T), x, r, w.of(*weight_),
                            bias_ != nullptr ? w.of(*bias_) : ConstData{}, eps_, {T, D_});
  } else {
    ops::rms_norm_forward(exec, y, sum, kept, x, r, w.of(*weight_), eps_, {T, D_, kind_ == NormKind::rms_plus_one});
  }
}

void Norm::backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g, Data dx, ConstData dy, ConstData x,
                    float* kept, std::int64_t T, bool add_dx) const {
  if (kind_ == NormKind::layer) {
    ops::layer_norm_backward(exec, dx, {gradient_of(g, weight_), gradient_of(g, bias_)}, dy, x, w.of(*weight_),
                             statistics(kept, T), {T, D_}, add_dx, g.accumulate);
  } else {
    ops::rms_norm_backward(exec, dx, gradient_of(g, weight_), dy, x, w.of(*weight_), kept,
                           {T, D_, kind_ == NormKind::rms_plus_one}, add_dx, g.accumulate);
  }
}

void Norm::clear_gradient(const Exec& exec, const UnitGradient& g) const {
  for (const TensorLayout* tensor : {weight_, bias_}) {
    if (float* gradient = gradient_of(g, tensor); gradient != nullptr)
      ops::fill_zero(exec, {gradient, DType::f32}, tensor->count);
  }
}

std::int64_t Norm::workspace_bytes(const ModelSpec& spec, std::int64_t T, DeviceKind device) {
  if (spec.norm == NormKind::layer) return ops::layer_norm_workspace_bytes({T, spec.hidden_size}, device);
  return ops::rms_norm_workspace_bytes({T, spec.hidden_size}, device);
}

}  // namespace dstrain
