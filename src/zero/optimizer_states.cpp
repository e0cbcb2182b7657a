// SPDX-License-Identifier: Apache-2.0
#include "zero/optimizer_states.hpp"

#include "core/error.hpp"
#include "kernels/ops/optimizer_8bit.hpp"

namespace dstrain {

namespace {

/// bitsandbytes keeps smaller tensors in 32 bits (min_8bit_size).
constexpr std::int64_t least_8bit_elements = 4096;

constexpr std::array<StateSpec, most_states> adam_states = {{{"exp_avg"}, {"exp_avg_sq"}}};

/// bitsandbytes quantises in blocks from the first element of a tensor; transformers asks it for 32 bits where the
/// matrix is an embedding's. A tensor off the grid of blocks stays in 32 bits too: a rank's slice could begin inside a
/// block.
bool in_8_bits(const TensorLayout& tensor) {
  const bool is_embedding = tensor.unit == 0 && tensor.shape.size() == 2;
  return tensor.count >= least_8bit_elements && !is_embedding && tensor.offset % state_block == 0;
}

/// LLaMA-Factory's choice: matrices, but neither embeddings nor the head.
bool is_hidden_matrix(const TensorLayout& tensor) {
  return tensor.shape.size() == 2 && tensor.name.find("embed") == std::string::npos &&
         tensor.name.find("lm_head") == std::string::npos;
}

TensorUpdate elementwise(UpdateRule rule, std::array<StateSpec, most_states> states) {
  return {TensorUpdate::Kind::elementwise, rule, states};
}

TensorUpdate quantised_or(const TensorLayout& tensor, UpdateRule rule, bool two_states) {
  if (!in_8_bits(tensor)) {
    return elementwise(rule, two_states ? adam_states : std::array<StateSpec, most_states>{{{"exp_avg"}}});
  }
  TensorUpdate update{TensorUpdate::Kind::quantised, rule, {}};
  update.states[0] = {"state1", DType::u8, StateExtent::element};
  update.states[1] = {"absmax1", DType::f32, StateExtent::block};
  if (two_states) {
    update.states[2] = {"state2", DType::u8, StateExtent::element};
    update.states[3] = {"absmax2", DType::f32, StateExtent::block};
  }
  return update;
}

TensorUpdate factored(const OptimizerSettings& settings, const TensorLayout& tensor) {
  TensorUpdate update{TensorUpdate::Kind::factored, UpdateRule::adamw, {}};
  if (tensor.shape.size() > 2) {
    throw ConfigError(
        fmt::format("optim: adafactor factors matrices; {} has {} dims", tensor.name, tensor.shape.size()), {},
        "use another optimizer");
  }
  if (tensor.shape.size() == 2) {
    update.states[0] = {"exp_avg_sq_row", DType::f32, StateExtent::row};
    update.states[1] = {"exp_avg_sq_col", DType::f32, StateExtent::column};
  } else {
    update.states[0] = {"exp_avg_sq"};
  }
  if (settings.first_beta) update.states[2] = {"exp_avg"};
  return update;
}

}  // namespace

TensorUpdate update_of(const OptimizerSettings& settings, const TensorLayout& tensor) {
  switch (settings.kind) {
    case OptimizerKind::adamw:
      if (settings.pure_bf16)
        return {TensorUpdate::Kind::pure_bf16,
                UpdateRule::adamw,
                {{{"exp_avg_bf16", DType::bf16}, {"exp_avg_sq_bf16", DType::bf16}}}};
      return elementwise(UpdateRule::adamw, adam_states);
    case OptimizerKind::adam:
      return elementwise(UpdateRule::adam, adam_states);
    case OptimizerKind::sgd:
      return elementwise(UpdateRule::sgd, {{{settings.momentum != 0.0 ? "momentum_buffer" : nullptr}}});
    case OptimizerKind::adagrad:
      return elementwise(UpdateRule::adagrad, {{{"sum"}}});
    case OptimizerKind::rmsprop:
      return elementwise(UpdateRule::rmsprop, {{{"square_avg"},
                                                {settings.centered ? "grad_avg" : nullptr},
                                                {settings.momentum != 0.0 ? "momentum_buffer" : nullptr}}});
    case OptimizerKind::lion:
      return elementwise(UpdateRule::lion, {{{"exp_avg"}}});
    case OptimizerKind::adafactor:
      return factored(settings, tensor);
    case OptimizerKind::adamw_8bit:
      return quantised_or(tensor, UpdateRule::adamw, true);
    case OptimizerKind::lion_8bit:
      return quantised_or(tensor, UpdateRule::lion, false);
    case OptimizerKind::lamb:
      return elementwise(UpdateRule::adam_late, adam_states);
    case OptimizerKind::muon:
      if (!is_hidden_matrix(tensor)) return elementwise(UpdateRule::adam_late, adam_states);
      return {TensorUpdate::Kind::orthogonal, UpdateRule::momentum, {{{"momentum_buffer"}}}};
  }
  throw Error("an optimizer of an unknown kind");
}

MatrixShape matrix_shape(const TensorLayout& tensor) {
  if (tensor.shape.empty()) return {};
  const std::int64_t columns = tensor.shape.back();
  return {tensor.count / columns, columns};
}

std::int64_t state_count(StateExtent extent, const TensorLayout& tensor) {
  const auto dims = tensor.shape.size();
  switch (extent) {
    case StateExtent::element:
      return tensor.count;
    case StateExtent::block:
      return (tensor.count + state_block - 1) / state_block;
    case StateExtent::row:
      return tensor.count / tensor.shape.back();
    case StateExtent::column:
      return tensor.count / tensor.shape[dims - 2];
  }
  return 0;
}

}  // namespace dstrain
