// SPDX-License-Identifier: Apache-2.0
/// The optimizers and schedules of DeepSpeed's file, their parameters, and how a section is read against them.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/trainer_keys.hpp"

namespace dstrain {

/// One parameter of an optimizer or schedule.
struct SectionParameter {
  enum class Kind { number, count, toggle, numbers, word };
  std::string_view name;
  Kind kind = Kind::number;
};

/// One optimizer or schedule: its name in lower case, as DeepSpeed spells it, and what it takes.
struct SectionType {
  std::string_view lower;
  std::string_view name;
  std::string_view optim;  ///< optimizers: the trainer's name of the same mathematics
  double lr = 1e-3;        ///< optimizers: DeepSpeed's (or torch's) default
  std::span<const SectionParameter> parameters;
  std::string_view refused_why;

  [[nodiscard]] const SectionParameter* find(std::string_view parameter) const;
};

std::span<const SectionType> deepspeed_optimizers();
std::span<const SectionType> deepspeed_schedules();

/// Checked parameters by name; "auto" stays the word.
using SectionParameters = std::map<std::string, ConfigValue, std::less<>>;

/// Reads {type, params} against a table of types. What is wrong goes to `trainer` as problems.
class SectionReader {
 public:
  SectionReader(std::string_view path, std::span<const SectionType> types, TrainerKeys& trainer)
      : path_(path), types_(types), trainer_(trainer) {}

  /// The type of the section, or nullptr (then the problem is said).
  const SectionType* type_of(const ConfigValue& section);
  /// What stands in params. A parameter with a problem is left out.
  SectionParameters parameters(const ConfigValue& section, const SectionType& type);
  void problem(const ConfigValue& value, std::string text) { trainer_.problem(value.origin, std::move(text)); }

 private:
  void unknown_parameter(const std::string& name, const ConfigValue& value, const SectionType& type);
  void refuse_type(const ConfigValue& type);

  std::string path_;
  std::span<const SectionType> types_;
  TrainerKeys& trainer_;
};

}  // namespace dstrain
