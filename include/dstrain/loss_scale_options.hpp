// SPDX-License-Identifier: Apache-2.0
/// How the loss of f16 training is scaled.
#pragma once

#include <cstdint>

namespace dstrain {

/// Which rule, and its numbers.
struct LossScaleOptions {
  enum class Rule : std::uint8_t {
    none,       ///< f32, bf16
    fixed,      ///< DeepSpeed's static loss_scale: overflows are skipped, the scale stays
    deepspeed,  ///< DeepSpeed's DynamicLossScaler
    torch       ///< torch.amp.GradScaler
  };
  Rule rule = Rule::none;
  double initial = 65536.0;
  std::int64_t window = 2000;  ///< good steps before the scale grows (torch: growth_interval)
  double growth = 2.0;
  double backoff = 0.5;

  // deepspeed
  std::int64_t hysteresis = 2;  ///< overflows before the scale falls
  bool consecutive_hysteresis = false;
  double minimum = 1.0;

  bool operator==(const LossScaleOptions&) const = default;
};

}  // namespace dstrain
