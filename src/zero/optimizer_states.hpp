// SPDX-License-Identifier: Apache-2.0
/// Which states an optimizer keeps of a tensor. Pure arithmetic.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "core/dtype.hpp"
#include "kernels/ops/optimizer_settings.hpp"
#include "model/layout.hpp"

namespace dstrain {

/// How a state's elements go with those of its tensor.
enum class StateExtent : std::uint8_t {
  element,  ///< one for each element, in the same order
  block,    ///< one for each 256 elements of the flat tensor
  row,      ///< one for each row: the tensor's shape without its last dim; whole on every rank that keeps any of it
  column    ///< one for each column: the shape without the last dim but one; whole as well
};

/// One state of a tensor. The names are the fields of torch's (bitsandbytes', transformers') optimizer state.
struct StateSpec {
  const char* name = nullptr;  ///< null: no state
  DType dtype = DType::f32;
  StateExtent extent = StateExtent::element;
};

inline constexpr int most_states = 4;

/// How one tensor is updated, and what is kept for that. Unused entries have no name.
struct TensorUpdate {
  /// Which of the optimizer's formulas the tensor takes.
  enum class Kind : std::uint8_t { elementwise, quantised, factored, orthogonal, pure_bf16 };
  Kind kind = Kind::elementwise;
  UpdateRule rule = UpdateRule::adamw;  ///< elementwise
  std::array<StateSpec, most_states> states{};
};

/// The update of `tensor` under `settings`. Depends on the tensor alone, never on ranks. Local, pure.
TensorUpdate update_of(const OptimizerSettings& settings, const TensorLayout& tensor);

/// Elements of a state of a whole tensor. Local, pure.
std::int64_t state_count(StateExtent extent, const TensorLayout& tensor);

/// Rows and columns of a tensor taken as a matrix of its last dim; a vector has one row. Local, pure.
struct MatrixShape {
  std::int64_t rows = 1;
  std::int64_t columns = 1;
};
MatrixShape matrix_shape(const TensorLayout& tensor);

}  // namespace dstrain
