// SPDX-License-Identifier: Apache-2.0
/// LAMB on slices: each tensor's step is as long, relative to the tensor, as the norms of both say. The norms of a
/// tensor that lies cut over ranks are added up by one all_reduce for the whole model.
/// You et al., "Large Batch Optimization for Deep Learning", arXiv:1904.00962; numbers of DeepSpeed's FusedLamb, which
/// adds eps to sqrt(v) before the bias correction and corrects the whole step, decay included.
#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "kernels/ops/adafactor.hpp"
#include "zero/slice_optimizer.hpp"

namespace dstrain {

namespace {

class Lamb final : public SliceOptimizer {
 public:
  explicit Lamb(const SliceOptimizerContext& context)
      : context_(context), sums_(context.memory.view(context.buffers().scratch.sums)) {}

  void step(const StepParameters& p, const std::vector<TensorRates>& rates, const UnitsUpdated& /*updated*/) override {
    make_directions(p, rates);
    context_.exec.stream.synchronize();  // from here on the sums are the host's
    if (context_.buffers().scheme.sharded_state && context_.comm.size() > 1)
      context_.comm.all_reduce(sums_, ReduceOp::sum, Stream{}, "lamb norms");
    apply(p, rates);
  }

 private:
  [[nodiscard]] const OptimizerSettings& settings() const { return context_.buffers().options.optim; }
  /// Squares of a tensor's weights, and behind them those of its direction.
  [[nodiscard]] double* squares_of(const OwnedSlice& slice) const {
    return sums_.as<double>() + 2 * static_cast<std::ptrdiff_t>(slice.tensor);
  }

  /// Leaves -(m / (sqrt(v) + eps) + decay * p) where the gradients were.
  void make_directions(const StepParameters& p, const std::vector<TensorRates>& rates) {
    std::fill_n(sums_.as<double>(), sums_.count, 0.0);
    for (const OwnedSlice& slice : context_.owned) {
      if (slice.gradient == nullptr) continue;  // frozen
      const TensorRates& own = rates[static_cast<std::size_t>(slice.tensor)];
      UpdateParameters u = update_parameters(settings(), p, own);
      u.lr = 1.0;
      u.weight_decay = 1.0;  // of what stands in the gradient's place: nothing of it stays
      u.bias_correction = false;
      const UpdateArrays arrays{
          slice.gradient, slice.gradient, {slice.state("exp_avg"), slice.state("exp_avg_sq"), nullptr}, Data{}};
      ops::update(context_.exec, UpdateRule::adam_late, arrays, slice.count, u);
      if (own.weight_decay != 0.0) {
        ops::apply_update(context_.exec, slice.gradient, nullptr, slice.master, Data{}, slice.count, own.weight_decay,
                          0.0, 0.0);
      }
      double* squares = squares_of(slice);
      ops::sum_of_squares(context_.exec, squares, slice.master, slice.count, slice.count);
      ops::sum_of_squares(context_.exec, squares + 1, slice.gradient, slice.count, slice.count);
    }
  }

  void apply(const StepParameters& p, const std::vector<TensorRates>& rates) {
    const UpdateParameters u = update_parameters(settings(), p, {});
    const auto t = static_cast<double>(p.step);
    const double correction =
        settings().bias_correction ? std::sqrt(1.0 - std::pow(u.beta2, t)) / (1.0 - std::pow(u.beta1, t)) : 1.0;
    for (std::size_t i = 0; i < context_.owned.size(); ++i) {
      const OwnedSlice& slice = context_.owned[i];
      if (slice.gradient == nullptr) continue;
      const double* squares = squares_of(slice);
      double trust = 1.0;
      if (squares[0] != 0.0 && squares[1] != 0.0) {
        trust = std::clamp(std::sqrt(squares[0]) / std::sqrt(squares[1]), settings().min_coeff, settings().max_coeff);
      }
      const double lr = p.lr * rates[static_cast<std::size_t>(slice.tensor)].lr_factor;
      ops::apply_update(context_.exec, slice.master, nullptr, slice.gradient, context_.compute_copy(i), slice.count,
                        -lr * correction * trust, 0.0, 0.0);
    }
  }

  SliceOptimizerContext context_;
  View sums_;
};

}  // namespace

std::unique_ptr<SliceOptimizer> make_lamb(const SliceOptimizerContext& context) {
  return std::make_unique<Lamb>(context);
}

void plan_lamb(MemoryPlan& plan, ZeroBuffers& z, const ModelLayout& layout) {
  z.scratch.sums = plan.add("optimizer/lamb_norms", 2 * static_cast<std::int64_t>(layout.tensors.size()), DType::f64,
                            phase_optimizer, plan.host_visible());  // kernels make them, the host reads them
}

}  // namespace dstrain
