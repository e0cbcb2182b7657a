// SPDX-License-Identifier: Apache-2.0
#include "train/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.hpp"

namespace dstrain {

Schedule::Schedule(const std::string& type, std::int64_t warmup_steps, std::int64_t total_steps)
    : kind_(Kind::linear), warmup_(warmup_steps), total_(total_steps) {
  if (type == "linear") {
    kind_ = Kind::linear;
  } else if (type == "cosine") {
    kind_ = Kind::cosine;
  } else if (type == "constant") {
    kind_ = Kind::constant;
  } else if (type == "constant_with_warmup") {
    kind_ = Kind::constant_with_warmup;
  } else {
    throw ConfigError(fmt::format("lr_scheduler_type: '{}' is not supported", type), {},
                      "use linear, cosine, constant or constant_with_warmup");
  }
}

double Schedule::multiplier(std::int64_t step) const noexcept {
  if (kind_ == Kind::constant) return 1.0;
  if (step < warmup_) return static_cast<double>(step) / static_cast<double>(std::max<std::int64_t>(1, warmup_));
  if (kind_ == Kind::constant_with_warmup) return 1.0;
  const auto span = static_cast<double>(std::max<std::int64_t>(1, total_ - warmup_));
  if (kind_ == Kind::linear) return std::max(0.0, static_cast<double>(total_ - step) / span);
  const double progress = static_cast<double>(step - warmup_) / span;
  constexpr double cycles = 0.5;  // transformers' default: one half wave
  return std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * cycles * 2.0 * progress)));
}

std::int64_t resolve_warmup(std::int64_t warmup_steps, double warmup_ratio, std::int64_t total_steps) noexcept {
  if (warmup_steps > 0) return warmup_steps;
  return static_cast<std::int64_t>(std::ceil(static_cast<double>(total_steps) * warmup_ratio));
}

}  // namespace dstrain
