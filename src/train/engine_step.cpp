// SPDX-License-Identifier: Apache-2.0
/// The end of a step: losses of all slots, the norm, the update, and what happens where they are not finite.
#include "train/engine_impl.hpp"

#include <algorithm>
#include <cmath>

#include "comm/agreed_error.hpp"

namespace dstrain {

namespace {

/// For messages: a processor's NaN may print as "-nan".
double without_sign_of_nan(double value) { return std::isnan(value) ? std::abs(value) : value; }

}  // namespace

StepResult EngineImpl::step(double learning_rate, const std::optional<std::array<double, 2>>& betas) {
  StepParameters parameters{.lr = learning_rate, .step = optimizer_steps_ + 1};
  if (betas) parameters.beta1 = (*betas)[0], parameters.beta2 = (*betas)[1];
  return store_->queues_norm() ? queued_step(parameters) : decided_step(parameters);
}

StepResult EngineImpl::decided_step(StepParameters& parameters) {
  if (store_->stream().on_device()) store_->stream().synchronize();  // the losses are the host's from here on
  StepResult result = sum_slots();
  if (!loss_is_usable(result)) return not_finite(result, nonfinite_loss(result));
  take_norm(result, store_->reduce_gradients() / loss_scale_.scale());
  if (result.skipped) return skipped(result);
  if (!std::isfinite(result.grad_norm)) return not_finite(result, nonfinite_norm(result));
  double clip = 1.0;
  if (options_.max_grad_norm > 0)
    clip = std::min(1.0, options_.max_grad_norm / (result.grad_norm + 1e-6));  // torch's rule
  parameters.gradient_scale = clip / result.loss_scale;
  secure_state();
  store_->optimizer_step(parameters, rates_);
  return counted(result);
}

StepResult EngineImpl::queued_step(StepParameters& parameters) {
  const ScaleRule rule{.max_norm = options_.max_grad_norm, .loss_scale = loss_scale_.scale()};
  const double* losses = loss_scale_.active() ? nullptr : slot_of(comm_.rank(), 0);
  parameters.gradient_scale_at = store_->queue_gradient_norm(rule, losses, micro_step_, slot_numbers);
  secure_state();
  store_->optimizer_step(parameters, rates_);
  const double norm = store_->await_gradient_norm();
  StepResult result = sum_slots();
  if (!loss_is_usable(result)) return not_finite(result, nonfinite_loss(result));
  take_norm(result, norm);
  if (result.skipped) return skipped(result);
  if (!std::isfinite(result.grad_norm)) return not_finite(result, nonfinite_norm(result));
  return counted(result);
}

bool EngineImpl::loss_is_usable(const StepResult& result) const {
  return std::isfinite(result.loss) || loss_scale_.active();
}

std::string EngineImpl::nonfinite_loss(const StepResult& result) {
  return fmt::format("the loss of step {} is {}{}", global_step_ + 1, without_sign_of_nan(result.loss),
                     slot_that_is_not_finite());
}

std::string EngineImpl::nonfinite_norm(const StepResult& result) const {
  return fmt::format("the gradient norm of step {} is {}", global_step_ + 1, without_sign_of_nan(result.grad_norm));
}

void EngineImpl::take_norm(StepResult& result, double norm) {
  result.loss_scale = loss_scale_.scale();
  result.grad_norm = norm;
  result.skipped = loss_scale_.active() && !std::isfinite(norm);
  result.overflow = loss_scale_.update(result.skipped);
}

void EngineImpl::secure_state() {
  settle_late_save();
  writer_.secure();
}

StepResult EngineImpl::skipped(StepResult& result) {
  settle_late_save();
  ++global_step_;
  return result;
}

StepResult EngineImpl::counted(StepResult& result) {
  ++optimizer_steps_;
  ++global_step_;
  return result;
}

StepResult EngineImpl::not_finite(StepResult& result, const std::string& what) {
  if (options_.on_nonfinite == OnNonfinite::stop) {
    std::vector<int> ranks;
    for (int r = 0; r < comm_.size(); ++r) ranks.push_back(r);
    throw AgreedError(what, {},
                      "lower learning_rate or set max_grad_norm, or look at the data of this step; the weights "
                      "before it are in the last checkpoint",
                      ExitCode::failed, ranks);
  }
  result.skipped = result.nonfinite = true;
  result.overflow = what;
  settle_late_save();
  ++global_step_;
  return result;
}

std::string EngineImpl::slot_that_is_not_finite() {
  for (int micro = 0; micro < micro_step_; ++micro) {
    for (int rank = 0; rank < contributors_[static_cast<std::size_t>(micro)]; ++rank) {
      if (!std::isfinite(slot_of(rank, micro)[0])) return fmt::format(" (rank {}, micro-batch {})", rank, micro);
    }
  }
  return {};
}

double* EngineImpl::slot_of(int rank, int micro_step) {
  return slots_.data() + (static_cast<std::int64_t>(rank) * options_.max_micro_steps + micro_step) * slot_numbers;
}

StepResult EngineImpl::sum_slots() {
  const std::int64_t per_rank = static_cast<std::int64_t>(options_.max_micro_steps) * slot_numbers;
  comm_.all_gather(ConstView(slot_of(comm_.rank(), 0), per_rank, DType::f64),
                   View(slots_.data(), per_rank * comm_.size(), DType::f64), Stream{}, "slot losses");
  StepResult result;
  double targets = 0.0;
  for (int micro = 0; micro < micro_step_; ++micro) {
    for (int rank = 0; rank < contributors_[static_cast<std::size_t>(micro)]; ++rank) {
      const double* slot = slot_of(rank, micro);
      result.loss += slot[0];
      result.nll_sum += slot[1];
      targets += slot[2];
      if (slot[2] > 0 && (result.highest_rank < 0 || slot[1] / slot[2] > result.highest_loss)) {
        result.highest_loss = slot[1] / slot[2];
        result.highest_rank = rank;
        result.highest_micro_step = micro;
      }
    }
  }
  result.targets = static_cast<std::int64_t>(targets);
  return result;
}

}  // namespace dstrain
