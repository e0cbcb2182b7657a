// SPDX-License-Identifier: Apache-2.0
/// Values into RunConfig through the schema's member pointers, and what is wrong with them.
#include <fmt/core.h>

#include <algorithm>
#include <limits>

#include "config/key_schema.hpp"
#include "config/yaml_reader.hpp"

namespace dstrain {
namespace {

template <typename T>
std::optional<T> read_as(const ConfigValue& value);
template <>
std::optional<bool> read_as(const ConfigValue& value) {
  return to_bool(value);
}
template <>
std::optional<std::int64_t> read_as(const ConfigValue& value) {
  return to_integer(value);
}
template <>
std::optional<int> read_as(const ConfigValue& value) {
  const auto wide = to_integer(value);
  if (!wide || *wide < std::numeric_limits<int>::min() || *wide > std::numeric_limits<int>::max()) return std::nullopt;
  return static_cast<int>(*wide);
}
template <>
std::optional<double> read_as(const ConfigValue& value) {
  return to_number(value);
}
template <>
std::optional<std::string> read_as(const ConfigValue& value) {
  return to_text(value);
}
template <>
std::optional<std::vector<std::string>> read_as(const ConfigValue& value) {
  return to_text_list(value);
}

std::optional<DeepSpeedValue> read_parameter(const ConfigValue& value) {
  if (value.kind == ConfigValue::Kind::list) {
    std::vector<double> numbers;
    for (const auto& item : value.items) {
      const auto number = to_number(item);
      if (!number) return std::nullopt;
      numbers.push_back(*number);
    }
    return numbers;
  }
  if (const auto number = to_number(value); number && !value.quoted) return *number;
  if (const auto on = to_bool(value); on && !value.quoted) return *on ? 1.0 : 0.0;
  return to_text(value);
}

/// A mapping, or its text as transformers takes it on the command line.
template <>
std::optional<NamedArguments> read_as(const ConfigValue& value) {
  if (value.kind == ConfigValue::Kind::scalar) {
    const auto parsed = read_argument(value.text);
    return parsed.is_map() ? read_as<NamedArguments>(parsed) : std::nullopt;
  }
  if (!value.is_map()) return std::nullopt;
  NamedArguments arguments;
  for (const auto& [name, member] : value.members) {
    const auto read = read_parameter(member);
    if (!read) return std::nullopt;
    arguments.insert_or_assign(name, *read);
  }
  return arguments;
}

template <>
std::optional<DeepSpeedSection> read_as(const ConfigValue& value) {
  const auto* type = value.find("type");
  if (!value.is_map() || type == nullptr || !to_text(*type)) return std::nullopt;
  DeepSpeedSection section;
  section.type = type->text;
  for (const auto& [name, member] : value.members) {
    if (name == "type") continue;
    if (name != "params" || !(member.is_map() || member.is_null())) return std::nullopt;
    if (member.is_null()) continue;
    auto params = read_as<NamedArguments>(member);
    if (!params) return std::nullopt;
    section.params = std::move(*params);
  }
  return section;
}

template <>
std::optional<Fp16Options> read_as(const ConfigValue& value) {
  if (!value.is_map()) return std::nullopt;
  Fp16Options out;
  for (const auto& [name, member] : value.members) {
    const auto take = [&, &given = member](auto& target) {
      const auto read = read_as<std::remove_reference_t<decltype(target)>>(given);
      if (read) target = *read;
      return read.has_value();
    };
    const bool fits = name == "enabled"                  ? take(out.enabled)
                      : name == "auto_cast"              ? take(out.auto_cast)
                      : name == "loss_scale"             ? take(out.loss_scale)
                      : name == "initial_scale_power"    ? take(out.initial_scale_power)
                      : name == "loss_scale_window"      ? take(out.loss_scale_window)
                      : name == "hysteresis"             ? take(out.hysteresis)
                      : name == "consecutive_hysteresis" ? take(out.consecutive_hysteresis)
                      : name == "min_loss_scale"         ? take(out.min_loss_scale)
                                                         : false;
    if (!fits) return std::nullopt;
  }
  return out;
}

/// Writes a value into a member; false where it is of another type.
struct Assigner {
  const ConfigValue& value;
  RunConfig& config;

  bool operator()(std::monostate) const { return true; }
  template <typename T>
  bool operator()(T RunConfig::*member) const {
    if (value.is_null()) {
      const RunConfig defaults;
      config.*member = defaults.*member;
      return true;
    }
    const auto read = read_as<T>(value);
    if (read) config.*member = *read;
    return read.has_value();
  }
  template <typename T>
  bool operator()(std::optional<T> RunConfig::*member) const {
    if (value.is_null()) {
      config.*member = std::nullopt;
      return true;
    }
    const auto read = read_as<T>(value);
    if (read) config.*member = *read;
    return read.has_value();
  }
};

std::string or_list(std::string_view words) {
  std::string out;
  for (const auto word : split_words(words)) out += (out.empty() ? "" : ", ") + std::string(word);
  return out;
}

bool contains(std::string_view words, std::string_view word) {
  const auto list = split_words(words);
  return std::find(list.begin(), list.end(), word) != list.end();
}

}  // namespace

std::string choice_problem(const KeySpec& key, const ConfigValue& value) {
  if (key.choice_list.empty() || value.is_null()) return {};
  const auto words = key.type == ValueType::list ? to_text_list(value).value_or(std::vector<std::string>{})
                                                 : std::vector<std::string>{value.text};
  for (const auto& word : words) {
    if (contains(key.choice_list, word)) continue;
    if (contains(key.not_yet_list, word)) return fmt::format("{} is not supported yet: {}", word, key.not_yet_why);
    auto known = split_words(key.choice_list);
    const auto more = split_words(key.not_yet_list);
    known.insert(known.end(), more.begin(), more.end());
    const auto near = nearest_word(word, known);
    return fmt::format("\"{}\" is not one of {}{}", word, or_list(key.choice_list),
                       near.empty() ? "" : fmt::format("; did you mean {}?", near));
  }
  return {};
}

std::string type_text(const KeySpec& key) {
  switch (key.type) {
    case ValueType::boolean:
      return "true or false";
    case ValueType::integer:
      return "a whole number";
    case ValueType::number:
      return "a number";
    case ValueType::text:
      return key.is_path ? "a path" : "a text";
    case ValueType::list:
      return "a list (or a text with commas)";
    case ValueType::any:
      return "a text or a mapping";
  }
  return {};
}

std::string type_problem(const KeySpec& key, const ConfigValue& value) {
  if (value.is_null()) return {};
  const bool fits = [&] {
    switch (key.type) {
      case ValueType::boolean:
        return to_bool(value).has_value();
      case ValueType::integer:
        return to_integer(value).has_value();
      case ValueType::number:
        return to_number(value).has_value();
      case ValueType::text:
        return to_text(value).has_value();
      case ValueType::list:
        return to_text_list(value).has_value();
      case ValueType::any:
        return true;
    }
    return false;
  }();
  return fits ? std::string{} : fmt::format("{} is not {}", value.shown(), type_text(key));
}

std::string assign(const KeySpec& key, const ConfigValue& value, RunConfig& config) {
  if (auto problem = type_problem(key, value); !problem.empty()) return problem;
  if (auto problem = choice_problem(key, value); !problem.empty()) return problem;
  if (!std::visit(Assigner{value, config}, key.member)) {
    return fmt::format("{} {}", value.shown(),
                       key.type == ValueType::any ? "is not of the form that `dstrain config --yaml` prints"
                                                  : "does not fit (32 bits)");
  }
  return {};
}

std::string refusal(const ConfigValue& value, std::string_view why) {
  return fmt::format("{} is {}{}", value.shown(), why.starts_with("not supported yet") ? "" : "not supported: ", why);
}

bool is_off(const KeySpec& key, const ConfigValue& value) {
  if (value.is_null() && (key.type != ValueType::boolean || key.initial == "false" || key.initial == "null"))
    return true;
  if (value.kind == ConfigValue::Kind::map && value.members.empty())
    return key.initial == "null" || key.initial == "{}";
  if (value.kind == ConfigValue::Kind::list && value.items.empty()) return key.initial == "null" || key.initial == "[]";
  const auto means = [&](std::string_view text) {
    const auto off = read_argument(std::string(text));
    if (off.kind != ConfigValue::Kind::scalar || value.kind != ConfigValue::Kind::scalar) return same_value(off, value);
    if (key.type == ValueType::boolean) return to_bool(off) == to_bool(value);
    return same_value(off, value);
  };
  const auto words = split_words(key.off_list);
  return means(key.initial) || std::any_of(words.begin(), words.end(), means);
}

}  // namespace dstrain
