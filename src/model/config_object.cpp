// SPDX-License-Identifier: Apache-2.0
#include "model/config_object.hpp"

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.hpp"

namespace dstrain {

using nlohmann::json;

namespace {

/// The value as the file says it, short enough for a message.
std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > 60) text.replace(57, std::string::npos, "...");
  return text;
}

}  // namespace

ConfigObject::ConfigObject(const json& object, std::string where, std::string prefix)
    : object_(object), where_(std::move(where)), prefix_(std::move(prefix)) {
  if (!object_.is_object())
    throw ConfigError(prefix_.empty() ? "not a JSON object" : prefix_ + " is not a JSON object", where_);
}

const json* ConfigObject::find(const char* key) const {
  const auto at = object_.find(key);
  return at == object_.end() || at->is_null() ? nullptr : &*at;
}

bool ConfigObject::has(const char* key) const { return find(key) != nullptr; }

bool ConfigObject::is_null(const char* key) const { return object_.contains(key) && !has(key); }

void ConfigObject::refuse(const char* key, const std::string& problem, const std::string& hint) const {
  throw ConfigError(fmt::format("{}{} {}", prefix_, key, problem), where_, hint);
}

std::int64_t ConfigObject::whole(const char* key, const json& value, std::int64_t low, std::int64_t high) const {
  // In f64 first: an unsigned number beyond int64 must not wrap into the range.
  const double as_double = value.is_number() ? value.get<double>() : std::nan("");
  if (!(as_double == std::floor(as_double)) || as_double < static_cast<double>(low) ||
      as_double > static_cast<double>(high)) {
    refuse(key, fmt::format("is {}; a whole number from {} to {} is needed", shown(value), low, high));
  }
  return value.is_number_float() ? static_cast<std::int64_t>(as_double) : value.get<std::int64_t>();
}

std::int64_t ConfigObject::integer(const char* key, std::int64_t low, std::int64_t high) const {
  const json* value = find(key);
  if (value == nullptr) refuse(key, "is missing");
  return whole(key, *value, low, high);
}

std::int64_t ConfigObject::integer_or(const char* key, std::int64_t fallback, std::int64_t low,
                                      std::int64_t high) const {
  return has(key) ? integer(key, low, high) : fallback;
}

double ConfigObject::number(const char* key, double low, double high) const {
  const auto value = maybe_number(key, low, high);
  if (!value) refuse(key, "is missing");
  return *value;
}

double ConfigObject::number_or(const char* key, double fallback, double low, double high) const {
  return maybe_number(key, low, high).value_or(fallback);
}

std::optional<double> ConfigObject::maybe_number(const char* key, double low, double high) const {
  const json* value = find(key);
  if (value == nullptr) return std::nullopt;
  const double number = value->is_number() ? value->get<double>() : std::nan("");
  if (!(number >= low && number <= high)) {
    refuse(key, fmt::format("is {}; a number from {} to {} is needed", shown(*value), low, high));
  }
  return number;
}

bool ConfigObject::flag_or(const char* key, bool fallback) const {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) refuse(key, fmt::format("is {}; true or false is needed", shown(*value)));
  return value->get<bool>();
}

std::string ConfigObject::text_or(const char* key, std::string fallback) const {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) refuse(key, fmt::format("is {}; a string is needed", shown(*value)));
  return value->get<std::string>();
}

std::vector<std::int64_t> ConfigObject::integers_or_one(const char* key, std::int64_t low, std::int64_t high) const {
  const json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_array()) return {whole(key, *value, low, high)};
  std::vector<std::int64_t> numbers;
  for (const json& item : *value) numbers.push_back(whole(key, item, low, high));
  return numbers;
}

std::vector<double> ConfigObject::numbers(const char* key, double low, double high) const {
  const json* value = find(key);
  if (value == nullptr) refuse(key, "is missing");
  if (!value->is_array()) refuse(key, fmt::format("is {}; a list of numbers is needed", shown(*value)));
  std::vector<double> all;
  for (const json& item : *value) {
    const double number = item.is_number() ? item.get<double>() : std::nan("");
    if (!(number >= low && number <= high))
      refuse(key, fmt::format("holds {}; numbers from {} to {} are needed", shown(item), low, high));
    all.push_back(number);
  }
  return all;
}

std::vector<std::string> ConfigObject::texts(const char* key) const {
  const json* value = find(key);
  if (value == nullptr) return {};
  std::vector<std::string> strings;
  if (!value->is_array()) refuse(key, fmt::format("is {}; a list is needed", shown(*value)));
  for (const json& item : *value) {
    if (!item.is_string()) refuse(key, fmt::format("holds {}; strings are needed", shown(item)));
    strings.push_back(item.get<std::string>());
  }
  return strings;
}

ConfigObject ConfigObject::object(const char* key) const {
  const json* value = find(key);
  if (value == nullptr) refuse(key, "is missing");
  return {*value, where_, prefix_ + key + "."};
}

}  // namespace dstrain
