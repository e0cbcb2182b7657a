// SPDX-License-Identifier: Apache-2.0
#include "data/json.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace dstrain::json_read {
namespace {

template <typename T>
std::optional<T> typed_member(const element& value, std::string_view key, const std::string& where,
                              std::string_view type) {
  const auto found = member(value, key);
  if (!found) return std::nullopt;
  T out;
  if (found->get(out) != simdjson::SUCCESS) throw ConfigError(fmt::format("\"{}\" is not {}", key, type), where);
  return out;
}

}  // namespace

std::size_t line_of(std::string_view text, std::size_t offset) {
  const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(offset, text.size()));
  return 1 + static_cast<std::size_t>(std::count(text.begin(), end, '\n'));
}

element parse(simdjson::dom::parser& parser, std::string_view text, const std::string& where) {
  element root;
  const auto error = parser.parse(text.data(), text.size()).get(root);
  if (error == simdjson::SUCCESS) return root;
  const auto [problem, at] = first_error(text);
  throw ConfigError(problem, fmt::format("{}:{}", where, line_of(text, static_cast<std::size_t>(at))));
}

std::pair<std::string, std::int64_t> first_error(std::string_view text) {
  simdjson::dom::parser parser;
  const auto error = parser.parse(text.data(), text.size()).error();
  // simdjson does not say where; a second reader does.
  std::size_t offset = text.size();
  try {
    [[maybe_unused]] const auto document = nlohmann::json::parse(text.begin(), text.end());
  } catch (const nlohmann::json::parse_error& e) {
    offset = e.byte > 0 ? e.byte - 1 : 0;
  } catch (const nlohmann::json::exception&) {
    offset = 0;
  }
  return {fmt::format("is not valid JSON: {}", simdjson::error_message(error)), static_cast<std::int64_t>(offset)};
}

std::string python_text(const element& value) {
  const auto join = [](std::string& out, std::string_view next) {
    out += (out.size() > 1 ? ", " : "") + std::string(next);
  };
  if (value.is_array()) {
    std::string out = "[";
    for (const auto item : array(value)) join(out, python_text(item));
    return out + "]";
  }
  if (value.is_object()) {
    std::string out = "{";
    for (const auto field : object(value)) {
      join(out, nlohmann::json(std::string(field.key)).dump() + ": " + python_text(field.value));
    }
    return out + "}";
  }
  if (value.is_string()) return nlohmann::json(std::string(std::string_view(value))).dump();
  // is_double() takes integers too.
  if (value.type() == simdjson::dom::element_type::DOUBLE) return nlohmann::json(double(value)).dump();
  return simdjson::to_string(value);
}

std::optional<std::string> string_member(const element& value, std::string_view key, const std::string& where) {
  const auto text = typed_member<std::string_view>(value, key, where, "a string");
  return text ? std::optional<std::string>(*text) : std::nullopt;
}

std::optional<std::int64_t> integer_member(const element& value, std::string_view key, const std::string& where) {
  return typed_member<std::int64_t>(value, key, where, "an integer");
}

std::optional<bool> bool_member(const element& value, std::string_view key, const std::string& where) {
  return typed_member<bool>(value, key, where, "true or false");
}

std::optional<object> object_member(const element& value, std::string_view key, const std::string& where) {
  return typed_member<object>(value, key, where, "an object");
}

std::optional<array> array_member(const element& value, std::string_view key, const std::string& where) {
  return typed_member<array>(value, key, where, "a list");
}

std::string string_of(const element& value, std::string_view what, const std::string& where) {
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) throw ConfigError(fmt::format("{} is not a string", what), where);
  return std::string(text);
}

}  // namespace dstrain::json_read
