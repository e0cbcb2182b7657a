// SPDX-License-Identifier: Apache-2.0
/// The schedules of transformers.optimization whose rate follows from the number of the step.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include "core/error.hpp"
#include "train/schedule_kinds.hpp"

namespace dstrain {

namespace {

using std::numbers::pi;

/// What the learning rate is multiplied with at a step.
using Multiplier = std::function<double(double step)>;

class StepSchedule final : public Schedule::Kind {
 public:
  StepSchedule(double learning_rate, Multiplier multiplier)
      : learning_rate_(learning_rate), multiplier_(std::move(multiplier)) {}
  [[nodiscard]] double rate(std::int64_t step) const override {
    return learning_rate_ * multiplier_(static_cast<double>(step));
  }

 private:
  double learning_rate_;
  Multiplier multiplier_;
};

/// Lengths in steps, as numbers to calculate with.
struct Lengths {
  double warmup;
  double total;
  /// From 0 at the end of the warm-up to 1 at the end of the run.
  [[nodiscard]] double progress(double step) const { return (step - warmup) / std::max(1.0, total - warmup); }
};

double cosine(double x) { return 0.5 * (1.0 + std::cos(pi * x)); }

Multiplier linear(Lengths n, ArgumentReader& /*read*/, double /*lr*/) {
  return [n](double t) { return std::max(0.0, (n.total - t) / std::max(1.0, n.total - n.warmup)); };
}

Multiplier constant(Lengths /*n*/, ArgumentReader& /*read*/, double /*lr*/) {
  return [](double) { return 1.0; };
}

Multiplier half_cosine(Lengths n, ArgumentReader& read, double /*lr*/) {
  const double cycles = read.number_or("num_cycles", 0.5);
  return [=](double t) { return std::max(0.0, cosine(cycles * 2.0 * n.progress(t))); };
}

Multiplier restarts(Lengths n, ArgumentReader& read, double /*lr*/) {
  const double cycles = read.number_or("num_cycles", 1.0);
  return [=](double t) {
    const double x = n.progress(t);
    return x >= 1.0 ? 0.0 : std::max(0.0, cosine(std::fmod(cycles * x, 1.0)));
  };
}

Multiplier polynomial(Lengths n, ArgumentReader& read, double lr) {
  const double end = read.number_or("lr_end", 1e-7);
  const double power = read.number_or("power", 1.0);
  if (!(lr > end)) read.fail("lr_end", fmt::format("is {}; it must be smaller than learning_rate {}", end, lr));
  return [=](double t) {
    if (t > n.total) return end / lr;
    const double left = 1.0 - (t - n.warmup) / (n.total - n.warmup);
    return ((lr - end) * std::pow(left, power) + end) / lr;
  };
}

Multiplier inverse_sqrt(Lengths n, ArgumentReader& read, double /*lr*/) {
  const double scale = read.positive_or("timescale", n.warmup > 0 ? n.warmup : 10'000.0);
  return [=](double t) { return 1.0 / std::sqrt((t + (scale - n.warmup)) / scale); };
}

double least_ratio(ArgumentReader& read, double lr) {
  const auto least = read.number("min_lr");
  const auto ratio = read.number("min_lr_rate");
  if (least && ratio) read.fail("min_lr", "and min_lr_rate are both set; use one of them");
  if (!least && !ratio) read.fail("min_lr", "or min_lr_rate must be set through lr_scheduler_kwargs");
  return ratio ? *ratio : *least / lr;
}

Multiplier cosine_with_floor(Lengths n, ArgumentReader& read, double lr) {
  const double cycles = read.number_or("num_cycles", 0.5);
  const double floor = least_ratio(read, lr);
  return [=](double t) { return std::max(0.0, cosine(cycles * 2.0 * n.progress(t)) * (1.0 - floor) + floor); };
}

/// cosine_warmup_with_min_lr: its warm-up starts above 0, and its progress counts from the step after it.
Multiplier cosine_with_raised_warmup(Lengths n, ArgumentReader& read, double lr) {
  const double cycles = read.number_or("num_cycles", 0.5);
  const double floor = least_ratio(read, lr);
  const auto start = read.number("warmup_lr_rate");
  return [=](double t) {
    if (t < n.warmup) {
      if (!start) return (t + 1.0) / std::max(1.0, n.warmup);
      return *start + (1.0 - *start) * t / std::max(1.0, n.warmup - 1.0);
    }
    const double x = (t - n.warmup + 1.0) / std::max(1.0, n.total - n.warmup);
    return std::max(0.0, cosine(cycles * 2.0 * x) * (1.0 - floor) + floor);
  };
}

/// The rise of warm-up from 0 to 1 at share p.
double rise(const std::string& type, double p) {
  if (type == "linear") return p;
  return type == "cosine" ? 0.5 * (1.0 - std::cos(pi * p)) : 1.0 - std::sqrt(1.0 - p);
}

/// The fall from 1 at share p.
double fall(const std::string& type, double p, double cycles) {
  if (type == "linear") return 1.0 - p;
  return type == "cosine" ? cosine(cycles * 2.0 * p) : 1.0 - std::sqrt(p);
}

/// LLaMA-Factory's lengths where none are given: a third of what follows the warm-up is stable, the rest decays.
Multiplier warmup_stable_decay(Lengths n, ArgumentReader& read, double /*lr*/) {
  const auto warmup = static_cast<std::int64_t>(n.warmup);
  const auto total = static_cast<std::int64_t>(n.total);
  const std::int64_t rest = std::max<std::int64_t>(0, total - warmup);
  const std::int64_t stable = read.count_or("num_stable_steps", rest / 3);
  const std::int64_t decay = read.count_or("num_decay_steps", rest - rest / 3);
  const auto warmup_type = read.word_or("warmup_type", "linear", {"linear", "cosine", "1-sqrt"});
  const auto decay_type = read.word_or("decay_type", "cosine", {"linear", "cosine", "1-sqrt"});
  const double floor = read.number_or("min_lr_ratio", 0.0);
  const double cycles = read.number_or("num_cycles", 0.5);
  const auto s = static_cast<double>(stable);
  const auto d = static_cast<double>(decay);
  return [=](double t) {
    if (t < n.warmup) return std::max(0.0, rise(warmup_type, t / std::max(1.0, n.warmup)) * (1.0 - floor) + floor);
    if (t < n.warmup + s) return 1.0;
    if (t < n.warmup + s + d) {
      const double p = (t - n.warmup - s) / std::max(1.0, d);
      return std::max(0.0, fall(decay_type, p, cycles) * (1.0 - floor) + floor);
    }
    return floor;
  };
}

/// One type: how it warms up, and what follows.
struct StepType {
  std::string_view name;
  bool warms_up;  ///< t / W before step W
  Multiplier (*make)(Lengths n, ArgumentReader& read, double lr);
};

constexpr StepType types[] = {
    {"linear", true, linear},
    {"cosine", true, half_cosine},
    {"cosine_with_restarts", true, restarts},
    {"polynomial", true, polynomial},
    {"constant", false, constant},
    {"constant_with_warmup", true, constant},
    {"inverse_sqrt", true, inverse_sqrt},
    {"cosine_with_min_lr", true, cosine_with_floor},
    {"cosine_warmup_with_min_lr", false, cosine_with_raised_warmup},
    {"warmup_stable_decay", false, warmup_stable_decay},
};

}  // namespace

std::unique_ptr<Schedule::Kind> make_step_schedule(const ScheduleOptions& options) {
  const auto type =
      std::find_if(std::begin(types), std::end(types), [&](const StepType& t) { return t.name == options.type; });
  if (type == std::end(types)) {
    std::string names = "reduce_lr_on_plateau";
    for (const StepType& t : types) names = std::string(t.name) + ", " + names;
    throw ConfigError(fmt::format("lr_scheduler_type: '{}' is not supported", options.type), {},
                      fmt::format("use one of {}", names));
  }
  const Lengths n{static_cast<double>(options.warmup_steps), static_cast<double>(options.total_steps)};
  ArgumentReader read(options.arguments, options.type, "lr_scheduler_kwargs");
  Multiplier after = type->make(n, read, options.learning_rate);
  read.finish();
  if (!type->warms_up) return std::make_unique<StepSchedule>(options.learning_rate, std::move(after));
  return std::make_unique<StepSchedule>(options.learning_rate, [n, after = std::move(after)](double t) {
    return t < n.warmup ? t / std::max(1.0, n.warmup) : after(t);
  });
}

}  // namespace dstrain
