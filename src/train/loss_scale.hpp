// SPDX-License-Identifier: Apache-2.0
/// The factor that keeps gradients of f16 training inside the range of f16.
#pragma once

#include <cstdint>
#include <string>

#include "dstrain/loss_scale_options.hpp"

namespace dstrain {

/// The current scale and what its rule counts. The same on all ranks, since all see the same overflows. Local.
class LossScale {
 public:
  explicit LossScale(const LossScaleOptions& options);

  /// True where an overflow skips the step instead of ending the run.
  [[nodiscard]] bool active() const noexcept { return options_.rule != LossScaleOptions::Rule::none; }
  /// What the loss is multiplied with in this step; 1 without a rule.
  [[nodiscard]] double scale() const noexcept { return scale_; }

  /// The end of a step attempt: whether any gradient of any rank was infinite or NaN.
  ///
  /// deepspeed: as DynamicLossScaler.update_scale; torch: as GradScaler.update.
  /// @return what to log where the step is skipped: DeepSpeed's sentence; empty for a good step
  /// @throws Error  DeepSpeed's rule at its minimum: "Current loss scale already at minimum ..."
  std::string update(bool overflow);

  /// Scale and counters, as JSON; empty without a rule.
  [[nodiscard]] std::string state() const;
  /// Takes a state() over; of another rule it takes the scale alone. @throws IoError  it is none
  void restore(const std::string& state, const std::string& where);

 private:
  std::string deepspeed(bool overflow);
  std::string torch(bool overflow);

  LossScaleOptions options_;
  double scale_ = 1.0;
  std::int64_t iteration_ = 0;       ///< deepspeed: cur_iter
  std::int64_t last_overflow_ = -1;  ///< deepspeed
  std::int64_t hysteresis_ = 0;      ///< deepspeed: cur_hysteresis
  std::int64_t growth_tracker_ = 0;  ///< torch: good steps since the last change
};

}  // namespace dstrain
