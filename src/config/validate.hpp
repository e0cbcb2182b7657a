// SPDX-License-Identifier: Apache-2.0
/// Ranges, and what must fit together: LLaMA-Factory's checks in its own words, and dstrain's.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/resolve.hpp"

namespace dstrain {

/// What the user wrote in the trainer's words, under today's names.
using GivenValues = std::map<std::string, ConfigValue, std::less<>>;

/// Adds a problem for every rule that `resolved` breaks. Touches no file, device or rank. Local.
/// @param partial  the file is another program's alone (DeepSpeed's, accelerate's): rules about a whole run wait
void validate(const ResolvedConfig& resolved, const GivenValues& given, bool partial,
              std::vector<ConfigProblem>& problems);

/// What every run needs and `resolved` has not. Local.
std::vector<ConfigProblem> missing_keys(const ResolvedConfig& resolved, const GivenValues& given);

/// LLaMA-Factory's checks (hparams/parser.py and the arguments' __post_init__) over all its keys, those that have no
/// effect here included. validate() calls it.
void check_llamafactory(const ResolvedConfig& resolved, const GivenValues& given, std::vector<ConfigProblem>& problems);

/// Rules about the data keys. validate() calls it.
void check_data_keys(const ResolvedConfig& resolved, std::vector<ConfigProblem>& problems);

/// Values of all the trainer's keys by name, whatever is done with them: what the user wrote, else what another file
/// set, else the default.
class SaidValues {
 public:
  SaidValues(const ResolvedConfig& resolved, const GivenValues& given) : resolved_(resolved), given_(given) {}

  [[nodiscard]] ConfigValue value(std::string_view key) const;
  [[nodiscard]] bool on(std::string_view key) const;
  [[nodiscard]] double number(std::string_view key) const;
  [[nodiscard]] std::string word(std::string_view key) const;
  [[nodiscard]] std::vector<std::string> list(std::string_view key) const;
  /// Not null, not empty.
  [[nodiscard]] bool has(std::string_view key) const;
  [[nodiscard]] Origin origin(std::string_view key) const;

 private:
  const ResolvedConfig& resolved_;
  const GivenValues& given_;
};

}  // namespace dstrain
