// SPDX-License-Identifier: Apache-2.0
/// Which evaluation was the best so far, and when to stop because none gets better.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/run_config.hpp"
#include "train/evaluation.hpp"

namespace dstrain {

/// What trainer_state.json keeps of it.
struct BestState {
  std::optional<double> metric;          ///< best_metric
  std::int64_t global_step = -1;         ///< best_global_step; -1: none
  std::string checkpoint;                ///< best_model_checkpoint; empty: none
  int evaluations_without_progress = 0;  ///< of the EarlyStoppingCallback
};

/// Follows transformers' Trainer._determine_best_metric and EarlyStoppingCallback (threshold 0): better means better
/// than the best, not as good. Local; every rank observes the same numbers.
class BestModel {
 public:
  explicit BestModel(const RunConfig& config);

  /// The metric's name in the results ("eval_loss"); empty where no key asks for a best model.
  [[nodiscard]] const std::string& metric() const noexcept { return metric_; }

  /// Looks at the results of an evaluation after step `step`. @return whether they are the best so far
  /// @throws ConfigError  they do not hold the metric
  bool observe(const Metrics& metrics, std::int64_t step);

  /// early_stopping_steps evaluations in a row brought no progress.
  [[nodiscard]] bool should_stop() const noexcept {
    return patience_ && state_.evaluations_without_progress >= *patience_;
  }

  [[nodiscard]] const BestState& state() const noexcept { return state_; }
  void restore(BestState state) { state_ = std::move(state); }
  /// A checkpoint of step `step` is about to be written as `path`: it holds the best model where that step is the best.
  void saving(std::int64_t step, const std::string& path) {
    if (step == state_.global_step) state_.checkpoint = path;
  }

 private:
  std::string metric_;
  bool greater_ = false;
  std::optional<int> patience_;
  BestState state_;
};

}  // namespace dstrain
