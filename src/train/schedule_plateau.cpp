// SPDX-License-Identifier: Apache-2.0
/// reduce_lr_on_plateau: torch.optim.lr_scheduler.ReduceLROnPlateau.
#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "train/schedule_kinds.hpp"

namespace dstrain {

namespace {

class Plateau final : public Schedule::Kind {
 public:
  explicit Plateau(const ScheduleOptions& options) : rate_(options.learning_rate) {
    ArgumentReader read(options.arguments, options.type, "lr_scheduler_kwargs");
    larger_is_better_ = read.word_or("mode", "min", {"min", "max"}) == "max";
    factor_ = read.number_or("factor", 0.1);
    patience_ = read.count_or("patience", 10);
    threshold_ = read.number_or("threshold", 1e-4);
    relative_ = read.word_or("threshold_mode", "rel", {"rel", "abs"}) == "rel";
    cooldown_ = read.count_or("cooldown", 0);
    least_ = read.number_or("min_lr", 0.0);
    eps_ = read.number_or("eps", 1e-8);
    read.finish();
    if (factor_ >= 1.0) read.fail("factor", fmt::format("is {}; use less than 1", factor_));
  }

  [[nodiscard]] double rate(std::int64_t /*step*/) const override { return rate_; }
  [[nodiscard]] bool observes() const noexcept override { return true; }

  void observe(double metric) override {
    if (is_better(metric)) {
      best_ = metric;
      bad_ = 0;
    } else {
      ++bad_;
    }
    if (cooling_ > 0) {
      --cooling_;
      bad_ = 0;
    }
    if (bad_ <= patience_) return;
    const double next = std::max(rate_ * factor_, least_);
    if (rate_ - next > eps_) rate_ = next;
    cooling_ = cooldown_;
    bad_ = 0;
  }

  [[nodiscard]] std::string state() const override {
    nlohmann::json json = {{"rate", rate_}, {"num_bad_epochs", bad_}, {"cooldown_counter", cooling_}};
    json["best"] = best_ ? nlohmann::json(*best_) : nlohmann::json(nullptr);
    return json.dump();
  }

  void restore(const std::string& state, const std::string& where) override {
    const auto json = nlohmann::json::parse(state, nullptr, /*allow_exceptions=*/false);
    const auto number = [&](const char* name) {
      if (!json.is_object() || !json.contains(name) || !json[name].is_number())
        throw IoError(fmt::format("the schedule's state has no number '{}'", name), where,
                      "the run was started with another lr_scheduler_type");
      return json[name].get<double>();
    };
    rate_ = number("rate");
    bad_ = static_cast<std::int64_t>(number("num_bad_epochs"));
    cooling_ = static_cast<std::int64_t>(number("cooldown_counter"));
    best_.reset();
    if (json.contains("best") && !json["best"].is_null()) best_ = number("best");
  }

 private:
  [[nodiscard]] bool is_better(double metric) const {
    if (!best_)
      return larger_is_better_ ? metric > -std::numeric_limits<double>::infinity()
                               : metric < std::numeric_limits<double>::infinity();
    const double slack = relative_ ? *best_ * threshold_ : threshold_;
    return larger_is_better_ ? metric > *best_ + slack : metric < *best_ - slack;
  }

  double rate_;
  bool larger_is_better_ = false;
  double factor_ = 0.1;
  std::int64_t patience_ = 10;
  double threshold_ = 1e-4;
  bool relative_ = true;
  std::int64_t cooldown_ = 0;
  double least_ = 0.0;
  double eps_ = 1e-8;

  std::optional<double> best_;
  std::int64_t bad_ = 0;      ///< evaluations since the best one
  std::int64_t cooling_ = 0;  ///< evaluations that do not count after a reduction
};

}  // namespace

std::unique_ptr<Schedule::Kind> make_plateau_schedule(const ScheduleOptions& options) {
  return std::make_unique<Plateau>(options);
}

}  // namespace dstrain
