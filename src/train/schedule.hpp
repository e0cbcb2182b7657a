// SPDX-License-Identifier: Apache-2.0
/// Learning-rate schedules: the rate (and, for one of them, the momentum) of each update.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "config/deepspeed_options.hpp"

namespace dstrain {

/// What a schedule of transformers is made of.
struct ScheduleOptions {
  std::string type = "linear";  ///< lr_scheduler_type
  double learning_rate = 0.0;
  std::int64_t warmup_steps = 0;  ///< resolve_warmup()
  std::int64_t total_steps = 0;
  NamedArguments arguments;  ///< lr_scheduler_kwargs
};

/// How the learning rate goes. `step` counts finished scheduler steps: 0 for the first update; an update that was
/// skipped for an overflow is no step of the schedule. Local, not thread-safe.
class Schedule {
 public:
  /// `lr_scheduler_type` with its warm-up, as transformers.optimization and torch compute it.
  /// @throws ConfigError  another type, an argument that it does not take, or one out of range
  explicit Schedule(const ScheduleOptions& options);

  /// A scheduler section of DeepSpeed's file, as deepspeed.runtime.lr_schedules computes it; "auto" for numbers of
  /// steps means the trainer's. The first update runs with the rate that DeepSpeed sets when it makes the scheduler,
  /// update n with the rate of its iteration n - 1.
  /// @throws ConfigError  as above
  Schedule(const DeepSpeedScheduler& section, const ScheduleOptions& trainer);

  ~Schedule();
  Schedule(Schedule&&) noexcept;
  Schedule& operator=(Schedule&&) noexcept;

  /// The learning rate of the update that follows `step` finished scheduler steps.
  [[nodiscard]] double rate(std::int64_t step) const;
  /// beta1 and beta2 of that update where the schedule cycles momentum (DeepSpeed's OneCycle).
  [[nodiscard]] std::optional<std::array<double, 2>> betas(std::int64_t step) const;

  /// True where the rate depends on metrics: reduce_lr_on_plateau. Its rate does not depend on `step`.
  [[nodiscard]] bool observes() const noexcept;
  /// One evaluation's metric (`metric_for_best_model`, else eval_loss), the same on all ranks. Without effect where
  /// observes() is false.
  void observe(double metric);

  /// What a checkpoint keeps, as JSON; empty where the step number says it all.
  [[nodiscard]] std::string state() const;
  /// Takes a state() over. @throws IoError  it is none of this schedule's
  void restore(const std::string& state, const std::string& where);

  /// One kind of schedule.
  class Kind;

 private:
  std::unique_ptr<Kind> kind_;
};

/// warmup_steps where it is > 0, else ceil(total * warmup_ratio).
std::int64_t resolve_warmup(std::int64_t warmup_steps, double warmup_ratio, std::int64_t total_steps) noexcept;

}  // namespace dstrain
