// SPDX-License-Identifier: Apache-2.0
/// Sections of DeepSpeed's file that have no trainer key of their own, as RunConfig carries them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace dstrain {

/// One parameter of a section: a number (true and false are 1 and 0), several, or a word.
using DeepSpeedValue = std::variant<double, std::vector<double>, std::string>;

/// Parameters by name, as `lr_scheduler_kwargs` gives them.
using NamedArguments = std::map<std::string, DeepSpeedValue, std::less<>>;

/// `{"type": T, "params": {...}}`, with DeepSpeed's names.
///
/// Only what the file says stands in `params`: DeepSpeed's defaults are the reader's. "auto" is replaced by the
/// trainer's value, except where that is known only when the run is set up: the scheduler's warmup_num_steps (the
/// trainer's warm-up steps) and total_num_steps (all its steps) stay the word "auto".
struct DeepSpeedSection {
  std::string type;  ///< in DeepSpeed's spelling, whatever the file's was
  NamedArguments params;

  /// The parameter as a number, or `fallback` where it is not given. A list counts as its first number. Local.
  [[nodiscard]] double number_or(std::string_view name, double fallback) const;
  /// The parameter as a word, or `fallback` where it is not given. Local.
  [[nodiscard]] std::string text_or(std::string_view name, std::string_view fallback) const;
  /// Whether the parameter is left to the run: the word "auto". Local.
  [[nodiscard]] bool is_auto(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const { return params.contains(name); }
  bool operator==(const DeepSpeedSection&) const = default;
};

/// WarmupLR, WarmupDecayLR, WarmupCosineLR, OneCycle or LRRangeTest.
using DeepSpeedScheduler = DeepSpeedSection;
/// Adam, AdamW, Lamb, Lion, Adagrad, SGD or RMSprop; one parameter group, so its weight_decay is every tensor's.
using DeepSpeedOptimizer = DeepSpeedSection;

/// The `fp16` section where it is switched on: DeepSpeed's rule for the loss scale instead of torch's.
struct Fp16Options {
  bool enabled = false;
  bool auto_cast = false;
  double loss_scale = 0.0;                ///< 0: dynamic
  int initial_scale_power = 16;           ///< the first scale is 2 to this power
  std::int64_t loss_scale_window = 1000;  ///< good steps before the scale doubles
  int hysteresis = 2;                     ///< overflows before it halves
  bool consecutive_hysteresis = false;
  double min_loss_scale = 1.0;

  bool operator==(const Fp16Options&) const = default;
};

}  // namespace dstrain
