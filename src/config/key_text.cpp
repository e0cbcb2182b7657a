// SPDX-License-Identifier: Apache-2.0
/// Values of RunConfig as YAML and JSON text, through the schema's member pointers.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "config/key_schema.hpp"

namespace dstrain {
namespace {

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

/// Plain YAML where nobody can misread it, else quoted.
std::string yaml_text(std::string_view text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '/' ||
           c == '.' || c == '-';
  });
  const auto value = ConfigValue::scalar(std::string(text));
  const bool word = plain && ((text.front() | 0x20) >= 'a' && (text.front() | 0x20) <= 'z') && !to_bool(value) &&
                    !to_number(value) && text != "null" && text != "Null" && text != "NULL";
  const bool path = plain && (text.front() == '/' || text.starts_with("./") || text.starts_with("../"));
  return word || path ? std::string(text) : in_quotes(text);
}

std::string number_text(double number, bool json) {
  if (std::isinf(number)) {
    if (json) return number > 0 ? "\"inf\"" : "\"-inf\"";
    return number > 0 ? ".inf" : "-.inf";
  }
  return fmt::format("{}", number);  // the shortest text that reads back to the same double
}

/// A member's value as YAML or JSON text.
struct Printer {
  const RunConfig& config;
  bool json;

  std::string operator()(std::monostate) const { return "null"; }
  template <typename T>
  std::string operator()(T RunConfig::*member) const {
    return print(config.*member);
  }

 private:
  std::string print(bool value) const { return value ? "true" : "false"; }
  std::string print(int value) const { return fmt::format("{}", value); }
  std::string print(std::int64_t value) const { return fmt::format("{}", value); }
  std::string print(double value) const { return number_text(value, json); }
  std::string print(const std::string& value) const { return json ? in_quotes(value) : yaml_text(value); }
  std::string print(const std::vector<std::string>& values) const {
    std::string out = "[";
    for (const auto& value : values) out += (out.size() > 1 ? ", " : "") + print(value);
    return out + "]";
  }
  template <typename T>
  std::string print(const std::optional<T>& value) const {
    return value ? print(*value) : "null";
  }
  std::string member(std::string_view name, const std::string& value) const {
    return fmt::format("{}: {}", json ? in_quotes(name) : yaml_text(name), value);
  }
  std::string print(const DeepSpeedValue& value) const {
    if (const auto* number = std::get_if<double>(&value)) return print(*number);
    if (const auto* word = std::get_if<std::string>(&value)) return print(*word);
    std::string out = "[";
    for (const double number : std::get<std::vector<double>>(value))
      out += (out.size() > 1 ? ", " : "") + print(number);
    return out + "]";
  }
  std::string print(const NamedArguments& values) const {
    std::string out;
    for (const auto& [name, one] : values) out += (out.empty() ? "" : ", ") + member(name, print(one));
    return "{" + out + "}";
  }
  std::string print(const DeepSpeedSection& value) const {
    return fmt::format("{{{}, {}}}", member("type", print(value.type)), member("params", print(value.params)));
  }
  std::string print(const Fp16Options& value) const {
    return fmt::format("{{{}, {}, {}, {}, {}, {}, {}, {}}}", member("enabled", print(value.enabled)),
                       member("auto_cast", print(value.auto_cast)), member("loss_scale", print(value.loss_scale)),
                       member("initial_scale_power", print(value.initial_scale_power)),
                       member("loss_scale_window", print(value.loss_scale_window)),
                       member("hysteresis", print(value.hysteresis)),
                       member("consecutive_hysteresis", print(value.consecutive_hysteresis)),
                       member("min_loss_scale", print(value.min_loss_scale)));
  }
};

}  // namespace

std::string value_text(const KeySpec& key, const RunConfig& config) {
  return std::visit(Printer{config, false}, key.member);
}
std::string value_json(const KeySpec& key, const RunConfig& config) {
  return std::visit(Printer{config, true}, key.member);
}

std::string default_text(const KeySpec& key) {
  if (key.action == KeyClass::runs && key.target.empty()) return value_text(key, RunConfig{});
  return std::string(key.initial);
}

}  // namespace dstrain
