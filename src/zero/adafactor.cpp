// SPDX-License-Identifier: Apache-2.0
/// Adafactor on slices: sums of rows and columns of a matrix that lies cut over ranks are added up by two small
/// all_reduce calls per unit. Shazeer and Stern, arXiv:1804.04235; numbers of transformers.optimization.Adafactor.
#include "kernels/ops/adafactor.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "zero/slice_optimizer.hpp"

namespace dstrain {

namespace {

/// Where the sums of one tensor stand in the buffer of its unit: rows, columns, then the squares of its weights.
struct SumPlace {
  std::int32_t tensor = 0;
  std::int64_t rows_at = 0;
  std::int64_t columns_at = 0;
  std::int64_t squares_at = 0;
};

bool is_factored(const TensorLayout& tensor) { return tensor.shape.size() == 2; }

/// The trainable tensors of a unit; returns the length of the buffer in `length`.
std::vector<SumPlace> sum_places(const ModelLayout& layout, const UnitLayout& unit, std::int64_t& length) {
  std::vector<SumPlace> places;
  length = 0;
  for (const std::int32_t index : unit.tensors) {
    const TensorLayout& tensor = layout.tensors[static_cast<std::size_t>(index)];
    if (tensor.part != PartKind::trainable) continue;
    const MatrixShape shape = matrix_shape(tensor);
    SumPlace place{index, length, length + shape.rows, length};
    if (is_factored(tensor)) place.squares_at = place.columns_at + shape.columns;
    length = place.squares_at + 1;
    places.push_back(place);
  }
  return places;
}

class Adafactor final : public SliceOptimizer {
 public:
  explicit Adafactor(const SliceOptimizerContext& context)
      : context_(context), slice_of_(context.layout.tensors.size(), -1) {
    for (std::size_t i = 0; i < context.owned.size(); ++i)
      slice_of_[static_cast<std::size_t>(context.owned[i].tensor)] = static_cast<int>(i);
    const OptimizerScratch& scratch = context.buffers().scratch;
    sums_ = context.memory.view(scratch.sums);
    factors_ = context.memory.view(scratch.factors).as<float>();
    for (const UnitLayout& unit : context.layout.units) {
      units_.emplace_back();
      units_.back().places = sum_places(context.layout, unit, units_.back().length);
      weight_squares_.reserve(std::max(weight_squares_.capacity(), units_.back().places.size()));
    }
  }

  void step(const StepParameters& p, const std::vector<TensorRates>& rates, const UnitsUpdated& /*updated*/) override {
    beta2t_ = 1.0 - std::pow(static_cast<double>(p.step), settings().decay_rate);
    for (const Unit& unit : units_) {
      if (unit.places.empty()) continue;
      add_up_squares(unit, p);
      make_updates(unit, p);
      apply(unit, p, rates);
    }
  }

 private:
  struct Unit {
    std::vector<SumPlace> places;
    std::int64_t length = 0;
  };

  [[nodiscard]] const OptimizerSettings& settings() const { return context_.buffers().options.optim; }
  [[nodiscard]] const TensorLayout& tensor_of(const SumPlace& place) const {
    return context_.layout.tensors[static_cast<std::size_t>(place.tensor)];
  }
  /// This rank's slice of the tensor, null where it keeps none.
  [[nodiscard]] const OwnedSlice* slice_of(const SumPlace& place) const {
    const int index = slice_of_[static_cast<std::size_t>(place.tensor)];
    return index < 0 ? nullptr : &context_.owned[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] MatrixSlice matrix_of(const SumPlace& place, const OwnedSlice& slice) const {
    return {matrix_shape(tensor_of(place)).columns, slice.begin, slice.count};
  }
  [[nodiscard]] double* sums() const { return sums_.as<double>(); }

  /// Adds sums [0, count) over the ranks; where each keeps everything they are whole already.
  void reduce(std::int64_t count, const char* label) {
    if (!context_.buffers().scheme.sharded_state || context_.comm.size() == 1) return;
    context_.comm.all_reduce(sums_.slice(0, count), ReduceOp::sum, Stream{}, label);
  }

  void add_up_squares(const Unit& unit, const StepParameters& p) {
    context_.exec.stream.synchronize();  // the unit before may still read what changes here
    std::fill_n(sums(), unit.length, 0.0);
    for (const SumPlace& place : unit.places) {
      const OwnedSlice* slice = slice_of(place);
      if (slice == nullptr) continue;
      if (is_factored(tensor_of(place))) {
        ops::factored_sums(context_.exec, sums() + place.rows_at, sums() + place.columns_at, slice->gradient,
                           matrix_of(place, *slice), p.gradient_scale, settings().eps_gradient);
      }
      if (settings().scale_parameter)
        ops::sum_of_squares(context_.exec, sums() + place.squares_at, slice->master, slice->count, slice->count);
    }
    context_.exec.stream.synchronize();  // from here on the sums are the host's
    reduce(unit.length, "adafactor sums");
  }

  /// Averages the sums into the states and leaves the updates where the gradients were; their squares are added up.
  void make_updates(const Unit& unit, const StepParameters& p) {
    weight_squares_.clear();
    for (const SumPlace& place : unit.places) weight_squares_.push_back(sums()[place.squares_at]);
    std::size_t k = 0;
    for (const SumPlace& place : unit.places) {
      const OwnedSlice* slice = slice_of(place);
      double squares = 0.0;
      if (slice != nullptr) {
        squares =
            is_factored(tensor_of(place))
                ? factored(place, *slice, p)
                : ops::unfactored_update(context_.exec, slice->gradient, slice->state("exp_avg_sq"), slice->gradient,
                                         slice->count, beta2t_, p.gradient_scale, settings().eps_gradient);
      }
      // The sums of this and of earlier tensors are used up.
      sums()[k++] = squares;
    }
    reduce(static_cast<std::int64_t>(unit.places.size()), "adafactor updates");
  }

  double factored(const SumPlace& place, const OwnedSlice& slice, const StepParameters& p) {
    const MatrixShape shape = matrix_shape(tensor_of(place));
    float* row = slice.state("exp_avg_sq_row");
    float* column = slice.state("exp_avg_sq_col");
    average(row, sums() + place.rows_at, shape.rows, shape.columns);
    average(column, sums() + place.columns_at, shape.columns, shape.rows);
    double mean = 0.0;
    for (std::int64_t r = 0; r < shape.rows; ++r) mean += row[r];
    const auto row_mean = static_cast<float>(mean / static_cast<double>(shape.rows));
    float* column_factor = factors_ + shape.rows;
    for (std::int64_t r = 0; r < shape.rows; ++r) factors_[r] = 1.0F / std::sqrt(row[r] / row_mean);
    for (std::int64_t c = 0; c < shape.columns; ++c) column_factor[c] = 1.0F / std::sqrt(column[c]);
    return ops::factored_update(context_.exec, slice.gradient, slice.gradient, factors_, column_factor,
                                matrix_of(place, slice), p.gradient_scale);
  }

  /// state = b2t * state + (1 - b2t) * sum / terms
  void average(float* state, const double* sum, std::int64_t count, std::int64_t terms) const {
    const auto keep = static_cast<float>(beta2t_);
    const auto take = static_cast<float>(1.0 - beta2t_);
    for (std::int64_t i = 0; i < count; ++i)
      state[i] = state[i] * keep + take * static_cast<float>(sum[i] / static_cast<double>(terms));
  }

  void apply(const Unit& unit, const StepParameters& p, const std::vector<TensorRates>& rates) {
    for (std::size_t k = 0; k < unit.places.size(); ++k) {
      const SumPlace& place = unit.places[k];
      const OwnedSlice* slice = slice_of(place);
      if (slice == nullptr) continue;
      const auto count = static_cast<double>(tensor_of(place).count);
      const TensorRates& own = rates[static_cast<std::size_t>(place.tensor)];
      double lr = p.lr * own.lr_factor;
      if (settings().scale_parameter) lr *= std::max(settings().eps_scale, std::sqrt(weight_squares_[k] / count));
      const double excess = std::sqrt(sums()[k] / count) / settings().clip_threshold;
      const auto index = static_cast<std::size_t>(slice_of_[static_cast<std::size_t>(place.tensor)]);
      ops::apply_update(context_.exec, slice->master, slice->state("exp_avg"), slice->gradient,
                        context_.compute_copy(index), slice->count, lr / std::max(1.0, excess),
                        settings().first_beta.value_or(0.0), own.weight_decay * lr);
    }
  }

  SliceOptimizerContext context_;
  std::vector<int> slice_of_;  ///< by tensor: index into owned, -1: none
  std::vector<Unit> units_;
  View sums_;
  float* factors_ = nullptr;
  std::vector<double> weight_squares_;
  double beta2t_ = 0.0;
};

}  // namespace

std::unique_ptr<SliceOptimizer> make_adafactor(const SliceOptimizerContext& context) {
  return std::make_unique<Adafactor>(context);
}

void plan_adafactor(MemoryPlan& plan, ZeroBuffers& z, const ModelLayout& layout) {
  std::int64_t longest = 0;
  std::int64_t factors = 0;
  for (const UnitLayout& unit : layout.units) {
    std::int64_t length = 0;
    for (const SumPlace& place : sum_places(layout, unit, length)) {
      const MatrixShape shape = matrix_shape(layout.tensors[static_cast<std::size_t>(place.tensor)]);
      factors = std::max(factors, shape.rows + shape.columns);
    }
    longest = std::max(longest, length);
  }
  z.scratch.sums = plan.add("optimizer/adafactor_sums", longest, DType::f64, phase_optimizer, plan.host_visible());
  z.scratch.factors =
      plan.add("optimizer/adafactor_factors", factors, DType::f32, phase_optimizer, plan.host_visible());
}

}  // namespace dstrain
