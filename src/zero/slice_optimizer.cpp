// SPDX-License-Identifier: Apache-2.0
/// Optimizers whose update of an element needs that element's own numbers alone.
#include "zero/slice_optimizer.hpp"

#include "core/error.hpp"
#include "kernels/ops/optimizer_8bit.hpp"

namespace dstrain {

namespace {

class LocalOptimizer final : public SliceOptimizer {
 public:
  explicit LocalOptimizer(const SliceOptimizerContext& context) : context_(context) {}

  void step(const StepParameters& p, const std::vector<TensorRates>& rates, const UnitsUpdated& updated) override {
    int done = 0;  // units below it; slices lie in the order of units
    for (std::size_t i = 0; i < context_.owned.size(); ++i) {
      const OwnedSlice& slice = context_.owned[i];
      if (slice.gradient == nullptr) continue;  // frozen
      const int unit = context_.layout.tensors[static_cast<std::size_t>(slice.tensor)].unit;
      if (unit > done) updated(unit - 1);
      done = unit;
      update_slice(context_, i, p, rates[static_cast<std::size_t>(slice.tensor)]);
    }
  }

 private:
  SliceOptimizerContext context_;
};

void update_quantised(const Exec& exec, UpdateRule rule, const UpdatePiece& piece, const UpdateParameters& p) {
  const auto state = [&](std::size_t at) {
    const StateSlice* states = piece.slice.states.data();
    return QuantisedState{static_cast<std::uint8_t*>(states[at].data) + piece.begin,
                          static_cast<float*>(states[at + 1].data) + piece.begin / state_block};
  };
  float* master = piece.slice.master + piece.begin;
  if (rule == UpdateRule::lion) {
    ops::lion_8bit(exec, master, state(0), piece.gradient, piece.copy, piece.count, p);
  } else {
    ops::adamw_8bit(exec, master, state(0), state(2), piece.gradient, piece.copy, piece.count, p);
  }
}

}  // namespace

UpdateParameters update_parameters(const OptimizerSettings& settings, const StepParameters& p,
                                   const TensorRates& rates) {
  UpdateParameters u;
  u.lr = p.lr * rates.lr_factor;
  u.beta1 = p.beta1.value_or(settings.beta1);
  u.beta2 = p.beta2.value_or(settings.beta2);
  u.eps = settings.eps;
  u.weight_decay = rates.weight_decay;
  u.momentum = settings.momentum;
  u.dampening = settings.dampening;
  u.alpha = settings.alpha;
  u.lr_decay = settings.lr_decay;
  u.nesterov = settings.nesterov;
  u.centered = settings.centered;
  u.bias_correction = settings.bias_correction;
  u.step = p.step;
  u.gradient_scale = p.gradient_scale;
  u.gradient_scale_at = p.gradient_scale_at;
  return u;
}

void update_piece(const Exec& exec, const ZeroBuffers& buffers, const UpdatePiece& piece, const StepParameters& p,
                  const TensorRates& rates) {
  const TensorUpdate& update = buffers.updates[static_cast<std::size_t>(piece.slice.tensor)];
  const UpdateParameters u = update_parameters(buffers.options.optim, p, rates);
  if (update.kind == TensorUpdate::Kind::quantised) return update_quantised(exec, update.rule, piece, u);
  UpdateArrays arrays{piece.slice.master + piece.begin, piece.gradient, {}, piece.copy};
  for (std::size_t i = 0; i < arrays.state.size(); ++i) {
    auto* state = static_cast<float*>(piece.slice.states[i].data);
    arrays.state[i] = state == nullptr ? nullptr : state + piece.begin;
  }
  ops::update(exec, update.rule, arrays, piece.count, u);
}

void update_slice(const SliceOptimizerContext& context, std::size_t index, const StepParameters& p,
                  const TensorRates& rates) {
  const OwnedSlice& slice = context.owned[index];
  if (context.buffers().updates[static_cast<std::size_t>(slice.tensor)].kind == TensorUpdate::Kind::pure_bf16) {
    ops::adamw_bf16(context.exec, slice.weights, {slice.states[0].data, DType::bf16},
                    {slice.states[1].data, DType::bf16}, slice.gradient, slice.count,
                    update_parameters(context.buffers().options.optim, p, rates));
    return;
  }
  const UpdatePiece all{slice, 0, slice.count, slice.gradient, context.compute_copy(index)};
  update_piece(context.exec, context.buffers(), all, p, rates);
}

void plan_optimizer_scratch(MemoryPlan& plan, ZeroBuffers& z, const ModelLayout& layout) {
  if (z.options.optim.kind == OptimizerKind::adafactor) plan_adafactor(plan, z, layout);
  if (z.options.optim.kind == OptimizerKind::lamb) plan_lamb(plan, z, layout);
  if (z.options.optim.kind == OptimizerKind::muon) plan_muon(plan, z, layout);
  if (z.scheme.host_states) plan_host_optimizer(plan, z, layout);
}

std::unique_ptr<SliceOptimizer> make_slice_optimizer(const SliceOptimizerContext& context) {
  switch (context.buffers().options.optim.kind) {
    case OptimizerKind::adafactor:
      return make_adafactor(context);
    case OptimizerKind::lamb:
      return make_lamb(context);
    case OptimizerKind::muon:
      return make_muon(context);
    default:
      if (context.buffers().scheme.host_states) return make_host_optimizer(context);
      return std::make_unique<LocalOptimizer>(context);
  }
}

}  // namespace dstrain
