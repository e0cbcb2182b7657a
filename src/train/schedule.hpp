// SPDX-License-Identifier: Apache-2.0
/// Learning-rate schedules: the multiplier of learning_rate at each step.
#pragma once

#include <cstdint>
#include <string>

namespace dstrain {

/// `lr_scheduler_type` with its warm-up, as transformers.optimization computes it.
class Schedule {
 public:
  /// @param type  linear, cosine, constant, constant_with_warmup
  /// @throws ConfigError for another type, naming the ones that run
  Schedule(const std::string& type, std::int64_t warmup_steps, std::int64_t total_steps);

  /// Multiplier for the update that follows `step` finished scheduler steps (0 for the first update). Local, pure.
  [[nodiscard]] double multiplier(std::int64_t step) const noexcept;

 private:
  enum class Kind { linear, cosine, constant, constant_with_warmup };
  Kind kind_;
  std::int64_t warmup_;
  std::int64_t total_;
};

/// warmup_steps where it is > 0, else ceil(total * warmup_ratio).
std::int64_t resolve_warmup(std::int64_t warmup_steps, double warmup_ratio, std::int64_t total_steps) noexcept;

}  // namespace dstrain
