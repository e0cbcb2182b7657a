// SPDX-License-Identifier: Apache-2.0
#include "model/linear.hpp"

#include "core/error.hpp"

namespace dstrain {

void Linear::forward(const Exec& exec, Data y, ConstData x, std::int64_t T, const UnitWeights& weights,
                     std::int64_t first_row) const {
  if (bias != nullptr && lora.empty())
    return ops::matmul_bias(exec, y, x, weights.of(*weight), weights.of(*bias), LinearShape::forward(T));
  ops::matmul(exec, y, x, weights.of(*weight), LinearShape::forward(T), false);
  if (!lora.empty()) lora.forward(exec, y, x, {T, first_row}, weights);
  if (bias != nullptr) ops::add_bias(exec, y, weights.of(*bias), T, out, out);
}

void Linear::weight_gradient(const Exec& exec, const UnitWeights& weights, const UnitGradient& gradient, ConstData dy,
                             ConstData x, std::int64_t T, std::int64_t first_row) const {
  if (weight->part == PartKind::trainable) {
    const Data dw{gradient.of(*weight), DType::f32};
    ops::matmul(exec, dw, transposed ? x : dy, transposed ? dy : x, LinearShape::weight_gradient(T),
                gradient.accumulate);
  }
  if (bias != nullptr && bias->part == PartKind::trainable) {
    ops::bias_backward(exec, gradient.of(*bias), dy, T, out, out, gradient.accumulate);
  }
  if (!lora.empty()) lora.weight_gradient(exec, weights, gradient, dy, x, {T, first_row});
}

void Linear::input_gradient(const Exec& exec, Data dx, ConstData dy, std::int64_t T, const UnitWeights& weights,
                            std::int64_t first_row) const {
  const ConstData base_dy = lora.empty() ? dy : lora.base_dy(exec, dy, T, weights);
  ops::matmul(exec, dx, base_dy, weights.of(*weight), LinearShape::input_gradient(T), false);
  if (!lora.empty()) lora.add_input_gradient(exec, dx, dy, {T, first_row}, weights);
}

const TensorLayout* find_in_unit(const ModelLayout& layout, int unit, const std::string& suffix) {
  for (const std::int32_t index : layout.units.at(static_cast<std::size_t>(unit)).tensors) {
    const TensorLayout& tensor = layout.tensors[static_cast<std::size_t>(index)];
    if (tensor.name.ends_with(suffix)) return &tensor;
  }
  return nullptr;
}

Linear make_linear(const ModelLayout& layout, int unit, LinearShape shape, const char* suffix) {
  Linear linear{shape,
                find_in_unit(layout, unit, std::string(suffix) + ".weight"),
                find_in_unit(layout, unit, std::string(suffix) + ".bias"),
                {}};
  DSTRAIN_CHECK(linear.weight != nullptr, "unit {} has no tensor {}.weight", unit, suffix);
  if (!layout.adapters.empty()) linear.lora = LinearLora(layout, *linear.weight, shape.in, shape.out);
  return linear;
}

}  // namespace dstrain
