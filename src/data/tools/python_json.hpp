// SPDX-License-Identifier: Apache-2.0
/// JSON as Python's json module reads and prints it. Tool descriptions become text that a model learns by heart, so the
/// text has to be the one that the compatible program makes, to the last blank.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dstrain::python {

/// A value of json.loads. Objects keep the order of their keys; a key that comes again replaces the value and keeps its
/// place, as in a dict.
struct Value {
  enum class Kind : std::uint8_t { null, boolean, integer, number, string, array, object };
  using Member = std::pair<std::string, Value>;

  Kind kind = Kind::null;
  std::string text;  ///< a string's characters, an integer's digits (of any length)
  double number = 0;
  bool boolean = false;
  std::vector<Value> items;
  std::vector<Member> members;

  static Value of(std::string string);
  static Value object(std::vector<Member> members);

  [[nodiscard]] bool is(Kind k) const noexcept { return kind == k; }
  [[nodiscard]] bool is_string(std::string_view s) const noexcept { return kind == Kind::string && text == s; }
  /// Member `key` of an object; null where there is none or this is no object.
  [[nodiscard]] const Value* find(std::string_view key) const noexcept;
  /// What `if value:` says.
  [[nodiscard]] bool truthy() const noexcept;
};

/// json.loads. None where json.loads would raise; nesting is bounded.
std::optional<Value> parse_json(std::string_view text);

/// json.dumps(value, ensure_ascii=False, indent=indent); without an indent everything stands on one line.
std::string dump_json(const Value& value, int indent = 0);

/// str(value): a string as it is, everything else as repr.
std::string to_text(const Value& value);

/// Python's repr of a float: the shortest digits that give it back, an exponent below 1e-4 and from 1e16.
std::string float_repr(double value);

}  // namespace dstrain::python
