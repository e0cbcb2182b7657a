// SPDX-License-Identifier: Apache-2.0
/// Flags of the commands that take no configuration file.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"

namespace dstrain::commands {

/// One flag a command knows: `--name value`, `--name=value`, or `--name` alone where `takes_value` is false.
struct FlagSpec {
  std::string_view name;
  bool takes_value = true;
};

/// The words of a command, taken apart.
class ParsedWords {
 public:
  /// @throws ConfigError  an unknown flag, a flag without its value, one given twice, or fewer or more plain words than
  ///                      `positions` names
  ParsedWords(const std::vector<std::string>& words, std::span<const FlagSpec> flags,
              std::span<const std::string_view> positions);

  [[nodiscard]] const std::string& position(std::size_t i) const { return positions_.at(i); }
  [[nodiscard]] bool has(std::string_view flag) const { return values_.contains(std::string(flag)); }
  [[nodiscard]] std::optional<std::string> text(std::string_view flag) const;
  /// @throws ConfigError  the value is no number of that kind
  [[nodiscard]] std::int64_t integer_or(std::string_view flag, std::int64_t fallback) const;
  [[nodiscard]] double number_or(std::string_view flag, double fallback) const;
  [[nodiscard]] bool boolean_or(std::string_view flag, bool fallback) const;

 private:
  std::map<std::string, std::string> values_;
  std::vector<std::string> positions_;
};

/// True where `words` ask for help.
bool asks_for_help(const std::vector<std::string>& words);

}  // namespace dstrain::commands
