// SPDX-License-Identifier: Apache-2.0
#include "train/loss_scale.hpp"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.hpp"

namespace dstrain {

namespace {

using Rule = LossScaleOptions::Rule;

std::int64_t whole(double scale) { return static_cast<std::int64_t>(std::min(scale, 9e18)); }

}  // namespace

LossScale::LossScale(const LossScaleOptions& options)
    : options_(options), scale_(options.rule == Rule::none ? 1.0 : options.initial), hysteresis_(options.hysteresis) {
  if (options.rule == Rule::none) return;
  DSTRAIN_CHECK(options.initial > 0 && options.window >= 1 && options.hysteresis >= 1,
                "a loss scale of {} with a window of {} and hysteresis {}", options.initial, options.window,
                options.hysteresis);
}

std::string LossScale::update(bool overflow) {
  switch (options_.rule) {
    case Rule::none:
      return {};
    case Rule::fixed:
      return overflow ? fmt::format("OVERFLOW! Skipping step. The loss scale is fixed at {}", whole(scale_))
                      : std::string();
    case Rule::deepspeed:
      return deepspeed(overflow);
    case Rule::torch:
      return torch(overflow);
  }
  return {};
}

std::string LossScale::deepspeed(bool overflow) {
  std::string message;
  if (overflow) {
    if (options_.hysteresis == 1 || hysteresis_ == 1) {
      if (scale_ == options_.minimum) {
        throw Error("Current loss scale already at minimum - cannot decrease scale anymore. Exiting run.", {},
                    "use bf16: true, or lower learning_rate; the weights before this step are in the last checkpoint");
      }
      const double next = std::max(scale_ / options_.growth, options_.minimum);
      message =
          fmt::format("OVERFLOW! Skipping step. Attempted loss scale: {}, reducing to {}", whole(scale_), whole(next));
      scale_ = next;
    } else {
      message = fmt::format(
          "OVERFLOW! Skipping step. Attempted loss scale: {}, but hysteresis is {}. Reducing hysteresis to {}",
          whole(scale_), hysteresis_, hysteresis_ - 1);
      --hysteresis_;
    }
    last_overflow_ = iteration_;
  } else {
    if (options_.consecutive_hysteresis) hysteresis_ = options_.hysteresis;
    if ((iteration_ - last_overflow_) % options_.window == 0) {
      if (!options_.consecutive_hysteresis) hysteresis_ = options_.hysteresis;
      scale_ *= options_.growth;
    }
  }
  ++iteration_;
  return message;
}

/// torch grows and shrinks a float: a scale that would become infinite stays.
std::string LossScale::torch(bool overflow) {
  if (overflow) {
    const auto next = static_cast<double>(static_cast<float>(scale_) * static_cast<float>(options_.backoff));
    auto message = fmt::format("OVERFLOW! Skipping step. Attempted loss scale: {}, reducing to {}", scale_, next);
    scale_ = next;
    growth_tracker_ = 0;
    return message;
  }
  if (++growth_tracker_ < options_.window) return {};
  const auto next = static_cast<float>(scale_) * static_cast<float>(options_.growth);
  if (next <= std::numeric_limits<float>::max()) scale_ = static_cast<double>(next);
  growth_tracker_ = 0;
  return {};
}

std::string LossScale::state() const {
  if (!active()) return {};
  return nlohmann::json{{"scale", scale_},
                        {"iteration", iteration_},
                        {"last_overflow", last_overflow_},
                        {"hysteresis", hysteresis_},
                        {"growth_tracker", growth_tracker_}}
      .dump();
}

void LossScale::restore(const std::string& state, const std::string& where) {
  if (!active() || options_.rule == Rule::fixed) return;
  const auto json = nlohmann::json::parse(state, nullptr, /*allow_exceptions=*/false);
  const auto number = [&](const char* name) {
    if (!json.is_object() || !json.contains(name) || !json[name].is_number())
      throw IoError(fmt::format("the loss scale's state has no number '{}'", name), where);
    return json[name];
  };
  const double scale = number("scale").get<double>();
  if (!(scale > 0)) throw IoError(fmt::format("the loss scale's state has a scale of {}", scale), where);
  scale_ = scale;
  iteration_ = number("iteration").get<std::int64_t>();
  last_overflow_ = number("last_overflow").get<std::int64_t>();
  hysteresis_ = std::clamp<std::int64_t>(number("hysteresis").get<std::int64_t>(), 1, options_.hysteresis);
  growth_tracker_ = number("growth_tracker").get<std::int64_t>();
}

}  // namespace dstrain
