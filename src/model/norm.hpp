// SPDX-License-Identifier: Apache-2.0
/// A norm of the model: where its tensors lie, and its kind's mathematics.
#pragma once

#include <cstdint>
#include <string>

#include "model/model_spec.hpp"
#include "model/parameter_store.hpp"

namespace dstrain {

/// RMS or layer normalisation over rows of `hidden_size`. Holds no weights.
class Norm {
 public:
  Norm() = default;
  /// @param module  full name; null: there is no such norm (exists() is false)
  Norm(const ModelSpec& spec, const ModelLayout& layout, int unit, const std::string& module);

  [[nodiscard]] bool exists() const noexcept { return weight_ != nullptr; }
  [[nodiscard]] int unit() const noexcept { return weight_->unit; }

  /// Floats that forward keeps of each row: `kept` below holds so many per row of the largest call.
  static std::int64_t kept_per_row(const ModelSpec& spec) noexcept { return spec.norm == NormKind::layer ? 2 : 1; }

  /// sum = x + r where r.data is not null (sum may be x or r), y = norm of it; without r of x.
  void forward(const Exec& exec, const UnitWeights& w, Data y, Data sum, float* kept, ConstData x, ConstData r,
               std::int64_t T) const;
  /// dx (+)= gradient of x, the norm's input; gradients of its weights where they are trained.
  void backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g, Data dx, ConstData dy, ConstData x,
                float* kept, std::int64_t T, bool add_dx) const;

  /// Zeros the gradients of its weights. For a unit whose gradient someone else opened for writing.
  void clear_gradient(const Exec& exec, const UnitGradient& g) const;

  static std::int64_t workspace_bytes(const ModelSpec& spec, std::int64_t T, DeviceKind device = DeviceKind::cpu);

 private:
  NormKind kind_ = NormKind::rms;
  float eps_ = 0.0F;
  std::int64_t D_ = 0;
  const TensorLayout* weight_ = nullptr;
  const TensorLayout* bias_ = nullptr;
};

}  // namespace dstrain
