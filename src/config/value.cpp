// SPDX-License-Identifier: Apache-2.0
#include "config/value.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace dstrain {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

/// YAML 1.1 allows 1_000_000: underscores between two digits are dropped; anywhere else they make it no number.
std::optional<std::string> without_underscores(std::string_view text) {
  const auto digit = [&](std::size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
    } else if (i == 0 || !digit(i - 1) || !digit(i + 1)) {
      return std::nullopt;
    }
  }
  return out;
}

std::string quoted_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

void show(const ConfigValue& value, std::string& out) {
  switch (value.kind) {
    case ConfigValue::Kind::null:
      out += "null";
      return;
    case ConfigValue::Kind::scalar:
      out += value.quoted || value.text.empty() ? quoted_text(value.text) : value.text;
      return;
    case ConfigValue::Kind::list:
      out += '[';
      for (const auto& item : value.items) {
        if (&item != &value.items.front()) out += ", ";
        show(item, out);
      }
      out += ']';
      return;
    case ConfigValue::Kind::map:
      out += '{';
      for (const auto& [name, member] : value.members) {
        if (&name != &value.members.front().first) out += ", ";
        out += name + ": ";
        show(member, out);
      }
      out += '}';
      return;
  }
}

}  // namespace

std::string Origin::text() const {
  switch (source) {
    case Source::initial:
      return "default";
    case Source::command_line:
      return "command line";
    case Source::file:
    case Source::deepspeed:
      break;
  }
  return line > 0 ? fmt::format("{}:{}", file, line) : file;
}

ConfigValue ConfigValue::scalar(std::string text, Origin origin) {
  ConfigValue value;
  value.kind = Kind::scalar;
  value.text = std::move(text);
  value.origin = std::move(origin);
  return value;
}

const ConfigValue* ConfigValue::find(std::string_view name) const {
  const auto it = std::find_if(members.begin(), members.end(), [&](const auto& m) { return m.first == name; });
  return it == members.end() ? nullptr : &it->second;
}

ConfigValue* ConfigValue::find(std::string_view name) {
  return const_cast<ConfigValue*>(static_cast<const ConfigValue*>(this)->find(name));
}

std::string ConfigValue::shown() const {
  constexpr std::size_t kLongest = 80;
  std::string out;
  show(*this, out);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  if (out.size() > kLongest) {
    std::size_t cut = kLongest;
    while (cut > 0 && (static_cast<unsigned char>(out[cut]) & 0xC0U) == 0x80U) --cut;  // not inside a UTF-8 character
    out.replace(cut, std::string::npos, "...");
  }
  return out;
}

bool same_value(const ConfigValue& a, const ConfigValue& b) {
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case ConfigValue::Kind::null:
      return true;
    case ConfigValue::Kind::scalar: {
      if (a.text == b.text) return true;
      const auto x = to_number(a), y = to_number(b);
      if (x || y) return x && y && *x == *y;
      const auto p = to_bool(a), q = to_bool(b);
      return p && q && *p == *q;
    }
    case ConfigValue::Kind::list:
      return std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(), same_value);
    case ConfigValue::Kind::map:
      return a.members.size() == b.members.size() &&
             std::all_of(a.members.begin(), a.members.end(), [&](const auto& m) {
               const auto* other = b.find(m.first);
               return other != nullptr && same_value(m.second, *other);
             });
  }
  return false;
}

std::optional<bool> to_bool(const ConfigValue& value) {
  if (value.kind != ConfigValue::Kind::scalar) return std::nullopt;
  static constexpr std::array yes{"yes", "true", "t", "y", "1", "on"};
  static constexpr std::array no{"no", "false", "f", "n", "0", "off"};
  const std::string word = lower(trimmed(value.text));
  if (std::find(yes.begin(), yes.end(), word) != yes.end()) return true;
  if (std::find(no.begin(), no.end(), word) != no.end()) return false;
  return std::nullopt;
}

std::optional<double> to_number(const ConfigValue& value) {
  if (value.kind != ConfigValue::Kind::scalar) return std::nullopt;
  std::string_view text = trimmed(value.text);
  double sign = 1.0;
  if (!text.empty() && (text.front() == '+' || text.front() == '-')) {
    sign = text.front() == '-' ? -1.0 : 1.0;
    text.remove_prefix(1);
  }
  const std::string word = lower(text);
  if (word == ".inf" || word == "inf" || word == "infinity") return sign * std::numeric_limits<double>::infinity();
  // from_chars would also take "nan" and a second sign
  if (text.empty() || !((text.front() >= '0' && text.front() <= '9') || text.front() == '.')) return std::nullopt;
  const auto digits = without_underscores(text);
  if (!digits) return std::nullopt;
  double number = 0.0;
  const auto [end, error] = std::from_chars(digits->data(), digits->data() + digits->size(), number);
  if (error != std::errc{} || end != digits->data() + digits->size()) return std::nullopt;
  return sign * number;
}

std::optional<std::int64_t> to_integer(const ConfigValue& value) {
  if (value.kind != ConfigValue::Kind::scalar) return std::nullopt;
  const auto text = without_underscores(trimmed(value.text));
  if (!text) return std::nullopt;
  const char* begin = text->data() + (text->starts_with('+') && text->size() > 1 && (*text)[1] != '-' ? 1 : 0);
  std::int64_t integer = 0;
  const auto [end, error] = std::from_chars(begin, text->data() + text->size(), integer);
  if (error == std::errc{} && end == text->data() + text->size()) return integer;
  const auto number = to_number(value);  // 5e8, 3.0
  constexpr double kExact = 9007199254740992.0;
  if (!number || !(std::abs(*number) <= kExact) || *number != std::floor(*number)) return std::nullopt;
  return static_cast<std::int64_t>(*number);
}

std::optional<std::string> to_text(const ConfigValue& value) {
  if (value.kind != ConfigValue::Kind::scalar) return std::nullopt;
  return value.text;
}

std::optional<std::vector<std::string>> to_text_list(const ConfigValue& value) {
  std::vector<std::string> out;
  if (value.kind == ConfigValue::Kind::list) {
    for (const auto& item : value.items) {
      if (item.kind != ConfigValue::Kind::scalar) return std::nullopt;
      if (const auto entry = trimmed(item.text); !entry.empty()) out.emplace_back(entry);
    }
    return out;
  }
  if (value.kind != ConfigValue::Kind::scalar) return std::nullopt;
  std::string_view rest = value.text;
  while (true) {
    const auto comma = rest.find(',');
    if (const auto entry = trimmed(rest.substr(0, comma)); !entry.empty()) out.emplace_back(entry);
    if (comma == std::string_view::npos) return out;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace dstrain
