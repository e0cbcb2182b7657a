// SPDX-License-Identifier: Apache-2.0
/// Reading JSON that others wrote, with errors that say where. For .cpp files of this folder: it pulls simdjson in.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.hpp"

namespace dstrain::json_read {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

/// Parses one document that `parser` keeps alive.
/// @throws ConfigError  with `where`:line of the first error
element parse(simdjson::dom::parser& parser, std::string_view text, const std::string& where);

/// What is wrong with a text that is no JSON, and at which byte.
std::pair<std::string, std::int64_t> first_error(std::string_view text);

/// The value as Python's json.dumps(value, ensure_ascii=False) writes it.
std::string python_text(const element& value);

/// Line (from 1) of byte `offset`.
std::size_t line_of(std::string_view text, std::size_t offset);

/// Member `key` of an object; none where it is absent or null.
inline std::optional<element> member(const element& value, std::string_view key) {
  element found;
  if (value.at_key(key).get(found) != simdjson::SUCCESS || found.is_null()) return std::nullopt;
  return found;
}

/// Member as a string / integer / bool / object / array; none where absent or null.
/// @throws ConfigError  it has another type
std::optional<std::string> string_member(const element& value, std::string_view key, const std::string& where);
std::optional<std::int64_t> integer_member(const element& value, std::string_view key, const std::string& where);
std::optional<bool> bool_member(const element& value, std::string_view key, const std::string& where);
std::optional<object> object_member(const element& value, std::string_view key, const std::string& where);
std::optional<array> array_member(const element& value, std::string_view key, const std::string& where);

/// The value as a string. @throws ConfigError  it is none
std::string string_of(const element& value, std::string_view what, const std::string& where);

}  // namespace dstrain::json_read
