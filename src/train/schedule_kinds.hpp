// SPDX-License-Identifier: Apache-2.0
/// The kinds of schedules and how they read their arguments. Private to src/train.
#pragma once

#include <initializer_list>
#include <string_view>

#include "train/schedule.hpp"

namespace dstrain {

class Schedule::Kind {
 public:
  Kind() = default;
  Kind(const Kind&) = delete;
  Kind& operator=(const Kind&) = delete;
  virtual ~Kind() = default;

  [[nodiscard]] virtual double rate(std::int64_t step) const = 0;
  [[nodiscard]] virtual std::optional<std::array<double, 2>> betas(std::int64_t /*step*/) const { return std::nullopt; }
  [[nodiscard]] virtual bool observes() const noexcept { return false; }
  virtual void observe(double /*metric*/) {}
  [[nodiscard]] virtual std::string state() const { return {}; }
  virtual void restore(const std::string& /*state*/, const std::string& /*where*/) {}
};

/// Reads named parameters with checks; what nobody asked for is an error.
class ArgumentReader {
 public:
  /// @param what  the schedule's name and the key that the arguments come from, for messages
  ArgumentReader(const NamedArguments& arguments, std::string schedule, std::string key);

  [[nodiscard]] std::optional<double> number(std::string_view name);
  [[nodiscard]] double number_or(std::string_view name, double fallback) { return number(name).value_or(fallback); }
  [[nodiscard]] double positive_or(std::string_view name, double fallback);
  /// A whole number of 0 or more.
  [[nodiscard]] std::int64_t count_or(std::string_view name, std::int64_t fallback);
  /// One of `words`.
  [[nodiscard]] std::string word_or(std::string_view name, std::string_view fallback,
                                    std::initializer_list<std::string_view> words);
  [[nodiscard]] bool has(std::string_view name) const { return arguments_.contains(name); }
  [[noreturn]] void fail(std::string_view name, std::string_view problem) const;
  /// @throws ConfigError  an argument was never read
  void finish() const;

 private:
  const DeepSpeedValue* take(std::string_view name);

  const NamedArguments& arguments_;
  std::string schedule_;
  std::string key_;
  std::map<std::string, bool, std::less<>> read_;
};

/// The schedules of transformers whose rate is a function of the step, and constant. @throws ConfigError
std::unique_ptr<Schedule::Kind> make_step_schedule(const ScheduleOptions& options);
/// reduce_lr_on_plateau.
std::unique_ptr<Schedule::Kind> make_plateau_schedule(const ScheduleOptions& options);
/// DeepSpeed's.
std::unique_ptr<Schedule::Kind> make_deepspeed_schedule(const DeepSpeedScheduler& section,
                                                        const ScheduleOptions& trainer);

}  // namespace dstrain
