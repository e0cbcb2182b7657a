// SPDX-License-Identifier: Apache-2.0
/// DeepSpeed's schedulers (deepspeed.runtime.lr_schedules). `t` is their last_batch_iteration: -1 in the first update.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.hpp"
#include "train/schedule_kinds.hpp"

namespace dstrain {

namespace {

constexpr double second_beta_of_cycle = 0.99;

/// Rate and momentum by DeepSpeed's iteration number.
class DeepSpeedKind : public Schedule::Kind {
 public:
  [[nodiscard]] double rate(std::int64_t step) const final { return rate_at(static_cast<double>(step) - 1.0); }
  [[nodiscard]] std::optional<std::array<double, 2>> betas(std::int64_t step) const final {
    return betas_at(static_cast<double>(step) - 1.0);
  }

 protected:
  [[nodiscard]] virtual double rate_at(double t) const = 0;
  [[nodiscard]] virtual std::optional<std::array<double, 2>> betas_at(double /*t*/) const { return std::nullopt; }
};

/// The rising part that three of them share.
struct Warmup {
  double steps;
  bool logarithmic;

  Warmup(ArgumentReader& read, double trainer_steps, bool is_auto)
      : steps(std::max(2.0, is_auto ? trainer_steps : static_cast<double>(read.count_or("warmup_num_steps", 1000)))),
        logarithmic(read.word_or("warmup_type", "log", {"log", "linear"}) == "log") {}

  [[nodiscard]] double share(double t) const {
    return logarithmic ? 1.0 / std::log(steps) * std::log(t + 1.0) : t / steps;
  }
};

/// WarmupLR; with a total it decays linearly after the warm-up: WarmupDecayLR.
class WarmupRate final : public DeepSpeedKind {
 public:
  WarmupRate(ArgumentReader& read, Warmup warmup, std::optional<double> total)
      : warmup_(warmup),
        total_(total),
        least_(read.number_or("warmup_min_lr", 0.0)),
        most_(read.number_or("warmup_max_lr", 0.001)) {}

 protected:
  [[nodiscard]] double rate_at(double t) const override {
    if (t < 0) return least_;
    return least_ + (most_ - least_) * share(t);
  }

 private:
  [[nodiscard]] double share(double t) const {
    if (t < warmup_.steps) return warmup_.share(t);
    if (!total_) return 1.0;
    return std::max(0.0, (*total_ - t) / std::max(1.0, *total_ - warmup_.steps));
  }

  Warmup warmup_;
  std::optional<double> total_;
  double least_;
  double most_;
};

/// WarmupCosineLR: shares of the optimizer's own rate.
class WarmupCosine final : public DeepSpeedKind {
 public:
  WarmupCosine(ArgumentReader& read, Warmup warmup, double total, double learning_rate)
      : warmup_(warmup),
        total_(total),
        learning_rate_(learning_rate),
        least_(read.number_or("warmup_min_ratio", 0.0)),
        last_(read.number_or("cos_min_ratio", 0.0001)) {}

 protected:
  [[nodiscard]] double rate_at(double t) const override {
    if (t < 0) return 0.0;
    if (t < warmup_.steps) return learning_rate_ * (least_ + warmup_.share(t) * (1.0 - least_));
    const double progress = std::min(1.0, (t - warmup_.steps + 1.0) / std::max(1.0, total_ - warmup_.steps));
    const double wave = (1.0 + std::cos(std::numbers::pi * progress)) / 2.0;
    return learning_rate_ * std::max(0.0, last_ + (1.0 - last_) * wave);
  }

 private:
  Warmup warmup_;
  double total_;
  double learning_rate_;
  double least_;
  double last_;
};

/// OneCycle: up, down, then decay; momentum goes the other way. Smith, arXiv:1803.09820.
class OneCycle final : public DeepSpeedKind {
 public:
  explicit OneCycle(ArgumentReader& read)
      : least_(read.number_or("cycle_min_lr", 0.0)),
        most_(read.number_or("cycle_max_lr", 0.0)),
        decay_rate_(read.number_or("decay_lr_rate", 0.0)),
        first_(static_cast<double>(read.count_or("cycle_first_step_size", 2000))),
        second_(static_cast<double>(read.count_or("cycle_second_step_size", static_cast<std::int64_t>(first_)))),
        first_stairs_(static_cast<double>(read.count_or("cycle_first_stair_count", 0))),
        second_stairs_(
            static_cast<double>(read.count_or("cycle_second_stair_count", static_cast<std::int64_t>(first_stairs_)))),
        decay_size_(static_cast<double>(read.count_or("decay_step_size", 0))),
        cycles_momentum_(read.number_or("cycle_momentum", 1.0) != 0.0),
        least_momentum_(read.number_or("cycle_min_mom", 0.8)),
        most_momentum_(read.number_or("cycle_max_mom", 0.9)),
        momentum_decay_rate_(read.number_or("decay_mom_rate", 0.0)) {
    if (!(first_ > 0)) read.fail("cycle_first_step_size", "is 0; use 1 or more");
  }

 protected:
  [[nodiscard]] double rate_at(double t) const override {
    const double total = first_ + second_;
    if (t < total) return least_ + (most_ - least_) * height(t);
    if (decay_size_ == 0.0 || decay_rate_ == 0.0) return least_;
    return least_ / (1.0 + decay_rate_ * ((t - total + 1.0) / decay_size_));
  }

  [[nodiscard]] std::optional<std::array<double, 2>> betas_at(double t) const override {
    if (!cycles_momentum_) return std::nullopt;
    const double total = first_ + second_;
    double momentum = most_momentum_;
    if (t < 0) {
      momentum = least_momentum_;  // what the scheduler sets when it is made
    } else if (t < total) {
      momentum = most_momentum_ - (most_momentum_ - least_momentum_) * height(t);
    } else if (decay_size_ != 0.0 && momentum_decay_rate_ != 0.0) {
      momentum = most_momentum_ * (1.0 + momentum_decay_rate_ * ((t - total + 1.0) / decay_size_));
    }
    return std::array<double, 2>{momentum, second_beta_of_cycle};
  }

 private:
  /// From 0 to 1 in the first part of the cycle, back to 0 in the second.
  [[nodiscard]] double height(double t) const {
    const double total = first_ + second_;
    const double at = t + 1.0;
    const double x = 1.0 + at / total - std::floor(1.0 + at / total);
    const double ratio = first_ / total;
    const bool rises = x <= ratio;
    const double stairs = rises ? first_stairs_ : second_stairs_;
    if (stairs > 0) {
      const double in_cycle = std::fmod(at, total);
      const double position = in_cycle <= first_ ? in_cycle * stairs / first_ : (total - in_cycle) * stairs / second_;
      return std::floor(position) / stairs;
    }
    return rises ? x / ratio : (x - 1.0) / (ratio - 1.0);
  }

  double least_;
  double most_;
  double decay_rate_;
  double first_;
  double second_;
  double first_stairs_;
  double second_stairs_;
  double decay_size_;
  bool cycles_momentum_;
  double least_momentum_;
  double most_momentum_;
  double momentum_decay_rate_;
};

/// LRRangeTest: the rate grows without end.
class RangeTest final : public DeepSpeedKind {
 public:
  explicit RangeTest(ArgumentReader& read)
      : least_(read.number_or("lr_range_test_min_lr", 1e-3)),
        size_(static_cast<double>(read.count_or("lr_range_test_step_size", 2000))),
        growth_(read.number_or("lr_range_test_step_rate", 1.0)),
        staircase_(read.number_or("lr_range_test_staircase", 0.0) != 0.0) {
    if (!(size_ > 0)) read.fail("lr_range_test_step_size", "is 0; use 1 or more");
  }

 protected:
  [[nodiscard]] double rate_at(double t) const override {
    const double interval = (t + 1.0) / size_;
    return least_ * (1.0 + growth_ * (staircase_ ? std::floor(interval) : interval));
  }

 private:
  double least_;
  double size_;
  double growth_;
  bool staircase_;
};

}  // namespace

std::unique_ptr<Schedule::Kind> make_deepspeed_schedule(const DeepSpeedScheduler& section,
                                                        const ScheduleOptions& trainer) {
  // What is left to the run is taken out, so that everything that is read is a number or a word.
  NamedArguments arguments = section.params;
  const bool auto_warmup = section.is_auto("warmup_num_steps");
  const bool auto_total = section.is_auto("total_num_steps");
  if (auto_warmup) arguments.erase("warmup_num_steps");
  if (auto_total) arguments.erase("total_num_steps");
  ArgumentReader read(arguments, section.type, "scheduler.params");
  const auto warmup = [&] { return Warmup(read, static_cast<double>(trainer.warmup_steps), auto_warmup); };
  const auto total = [&] {
    const std::int64_t given = read.count_or("total_num_steps", -1);
    return static_cast<double>(auto_total || given < 0 ? trainer.total_steps : given);
  };
  std::unique_ptr<Schedule::Kind> kind;
  if (section.type == "WarmupLR") {
    kind = std::make_unique<WarmupRate>(read, warmup(), std::nullopt);
  } else if (section.type == "WarmupDecayLR") {
    kind = std::make_unique<WarmupRate>(read, warmup(), total());
  } else if (section.type == "WarmupCosineLR") {
    kind = std::make_unique<WarmupCosine>(read, warmup(), total(), trainer.learning_rate);
  } else if (section.type == "OneCycle") {
    kind = std::make_unique<OneCycle>(read);
  } else if (section.type == "LRRangeTest") {
    kind = std::make_unique<RangeTest>(read);
  } else {
    throw ConfigError(fmt::format("scheduler.type: '{}' is not supported", section.type), {},
                      "use WarmupLR, WarmupDecayLR, WarmupCosineLR, OneCycle or LRRangeTest");
  }
  read.finish();
  return kind;
}

}  // namespace dstrain
