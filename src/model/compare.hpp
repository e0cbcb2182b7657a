// SPDX-License-Identifier: Apache-2.0
/// A model's numbers against a reference file: the check for whoever adds a family or a kernel.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "model/decoder.hpp"
#include "model/reference_file.hpp"

namespace dstrain {

/// |actual - expected| <= absolute + relative * |expected| for logits and loss; gradients by their 2-norm.
struct CompareTolerance {
  double absolute = 1e-5;
  double relative = 1e-5;
  double gradient = 1e-4;

  /// f32: what two f32 programs reach. bf16 against an f32 reference: 32 units in the last place (2^-8 each); in every
  /// block some dozen stored values are rounded on the way there and back, and sums over tokens cancel.
  static CompareTolerance of(DType dtype) noexcept;
};

/// One tensor's gradient. `difference` and `norm` are 2-norms.
struct GradientError {
  std::string name;
  double difference = 0.0;
  double norm = 0.0;  ///< of the reference
  bool good = false;
};

struct CompareReport {
  double loss = 0.0;
  double reference_loss = 0.0;
  bool loss_good = false;
  std::int64_t tokens = 0;
  double largest_logit_error = 0.0;
  double largest_logit = 0.0;
  bool logits_good = false;
  std::vector<GradientError> gradients;       ///< in layout order
  std::vector<std::string> not_in_reference;  ///< tensors of the model without a reference gradient
  std::vector<std::string> not_in_model;      ///< reference gradients without a tensor
  [[nodiscard]] bool good() const noexcept;
};

/// Writes the whole gradient of tensor `index` (after backward) to `out`.
using GradientReader = std::function<void(std::int32_t index, float* out)>;

/// Runs the reference's batch forward and backward and compares. `begin` and `finish` are called around the pass with
/// gradients (a store's begin_micro_step and reduction). Collective where the store is.
/// @throws IoError where the reference does not belong to this model
CompareReport compare_with_reference(Decoder& decoder, ParameterStore& store, const ModelSpec& spec,
                                     const ModelLayout& layout, const ReferenceFile& reference,
                                     const CompareTolerance& tolerance, const std::function<void()>& begin,
                                     const std::function<void()>& finish, const GradientReader& gradient_of);

}  // namespace dstrain
