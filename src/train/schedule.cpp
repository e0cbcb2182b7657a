// SPDX-License-Identifier: Apache-2.0
#include "train/schedule.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "train/schedule_kinds.hpp"

namespace dstrain {

namespace {

std::unique_ptr<Schedule::Kind> make_kind(const ScheduleOptions& options) {
  if (options.type == "reduce_lr_on_plateau") return make_plateau_schedule(options);
  return make_step_schedule(options);
}

}  // namespace

Schedule::Schedule(const ScheduleOptions& options) : kind_(make_kind(options)) {}
Schedule::Schedule(const DeepSpeedScheduler& section, const ScheduleOptions& trainer)
    : kind_(make_deepspeed_schedule(section, trainer)) {}
Schedule::~Schedule() = default;
Schedule::Schedule(Schedule&&) noexcept = default;
Schedule& Schedule::operator=(Schedule&&) noexcept = default;

double Schedule::rate(std::int64_t step) const { return kind_->rate(step); }
std::optional<std::array<double, 2>> Schedule::betas(std::int64_t step) const { return kind_->betas(step); }
bool Schedule::observes() const noexcept { return kind_->observes(); }
void Schedule::observe(double metric) { kind_->observe(metric); }
std::string Schedule::state() const { return kind_->state(); }
void Schedule::restore(const std::string& state, const std::string& where) { kind_->restore(state, where); }

std::int64_t resolve_warmup(std::int64_t warmup_steps, double warmup_ratio, std::int64_t total_steps) noexcept {
  if (warmup_steps > 0) return warmup_steps;
  return static_cast<std::int64_t>(std::ceil(static_cast<double>(total_steps) * warmup_ratio));
}

ArgumentReader::ArgumentReader(const NamedArguments& arguments, std::string schedule, std::string key)
    : arguments_(arguments), schedule_(std::move(schedule)), key_(std::move(key)) {}

void ArgumentReader::fail(std::string_view name, std::string_view problem) const {
  throw ConfigError(fmt::format("{}: {} of {} {}", key_, name, schedule_, problem));
}

const DeepSpeedValue* ArgumentReader::take(std::string_view name) {
  read_.insert_or_assign(std::string(name), true);
  const auto at = arguments_.find(name);
  return at == arguments_.end() ? nullptr : &at->second;
}

std::optional<double> ArgumentReader::number(std::string_view name) {
  const DeepSpeedValue* value = take(name);
  if (value == nullptr) return std::nullopt;
  const double* number = std::get_if<double>(value);
  if (const auto* several = std::get_if<std::vector<double>>(value); several != nullptr && several->size() == 1)
    number = several->data();  // one parameter group
  if (number == nullptr || !std::isfinite(*number)) fail(name, "is no number");
  return *number;
}

double ArgumentReader::positive_or(std::string_view name, double fallback) {
  const double value = number_or(name, fallback);
  if (!(value > 0)) fail(name, fmt::format("is {}; use more than 0", value));
  return value;
}

std::int64_t ArgumentReader::count_or(std::string_view name, std::int64_t fallback) {
  const auto value = number(name);
  if (!value) return fallback;
  if (*value < 0 || *value > 1e15 || *value != std::floor(*value))
    fail(name, fmt::format("is {}; use a whole number of 0 or more", *value));
  return static_cast<std::int64_t>(*value);
}

std::string ArgumentReader::word_or(std::string_view name, std::string_view fallback,
                                    std::initializer_list<std::string_view> words) {
  const DeepSpeedValue* value = take(name);
  if (value == nullptr) return std::string(fallback);
  const auto* word = std::get_if<std::string>(value);
  if (word != nullptr && std::find(words.begin(), words.end(), *word) != words.end()) return *word;
  std::string all;
  for (const std::string_view one : words) all += (all.empty() ? "" : ", ") + std::string(one);
  fail(name, fmt::format("is not one of {}", all));
}

void ArgumentReader::finish() const {
  std::string known;
  for (const auto& [name, read] : read_) known += (known.empty() ? "" : ", ") + name;
  for (const auto& [name, value] : arguments_) {
    if (!read_.contains(name))
      throw ConfigError(fmt::format("{}: {} takes no '{}'", key_, schedule_, name), {},
                        known.empty() ? "it takes no parameters" : fmt::format("it takes {}", known));
  }
}

}  // namespace dstrain
