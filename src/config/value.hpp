// SPDX-License-Identifier: Apache-2.0
/// What a person wrote for a key, before anyone knows the key's type: a small tree with the place of every node.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dstrain {

/// Where a value came from.
struct Origin {
  enum class Source { initial, file, command_line, deepspeed };
  Source source = Source::initial;
  std::string file;  ///< as the user named it
  int line = 0;      ///< 1-based; 0 where there is none

  /// "default", "command line" or "file:line".
  [[nodiscard]] std::string text() const;
};

/// One node of a configuration file or of a command line. Scalars stay text: the key's type decides what they mean.
struct ConfigValue {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  std::string text;                                          ///< scalar only
  bool quoted = false;                                       ///< scalar only: "1" is not 1 where both are possible
  std::vector<ConfigValue> items;                            ///< list only
  std::vector<std::pair<std::string, ConfigValue>> members;  ///< map only, in the order of the file
  Origin origin;

  static ConfigValue scalar(std::string text, Origin origin = {});

  [[nodiscard]] bool is_null() const { return kind == Kind::null; }
  [[nodiscard]] bool is_map() const { return kind == Kind::map; }
  /// The member of that name, or nullptr. Local.
  [[nodiscard]] const ConfigValue* find(std::string_view name) const;
  [[nodiscard]] ConfigValue* find(std::string_view name);
  /// On one line, for messages: JSON-like, cut after 80 characters.
  [[nodiscard]] std::string shown() const;
};

/// Two values that mean the same: scalars by number or text, lists and maps by their parts.
bool same_value(const ConfigValue& a, const ConfigValue& b);

// What a scalar means as a type; none where it means nothing of the kind. YAML 1.1's traps are read as they were meant:
// `1e-5` and `5e8` are numbers though PyYAML calls them strings; yes/no/on/off and HfArgumentParser's t/f/y/n/1/0 are
// booleans.
std::optional<bool> to_bool(const ConfigValue& value);
std::optional<std::int64_t> to_integer(const ConfigValue& value);  ///< also 5e8 and 3.0
std::optional<double> to_number(const ConfigValue& value);         ///< also .inf, Infinity, 1_000.5
std::optional<std::string> to_text(const ConfigValue& value);
/// A list of texts: a YAML list, or one text split at its commas; blanks around an entry and empty entries are dropped.
std::optional<std::vector<std::string>> to_text_list(const ConfigValue& value);

}  // namespace dstrain
