// SPDX-License-Identifier: Apache-2.0
#include "data/tools/python_json.hpp"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <utility>

#include "core/error.hpp"

namespace dstrain::python {
namespace {

/// Python's writer of JSON with ensure_ascii=False: only the characters that JSON forbids are escaped.
void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\b':
        out += "\\b";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

std::string json_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return float_repr(value);
}

void append_break(std::string& out, int indent, int depth) {
  out += '\n';
  out.append(static_cast<std::size_t>(indent) * static_cast<std::size_t>(depth), ' ');
}

void append_json(std::string& out, const Value& value, int indent, int depth) {
  // One loop for lists and objects: they differ in brackets and keys.
  const auto append_entries = [&](char open, char close, std::size_t count, const auto& append_entry) {
    out += open;
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) out += indent > 0 ? "," : ", ";
      if (indent > 0) append_break(out, indent, depth + 1);
      append_entry(i);
    }
    if (indent > 0 && count > 0) append_break(out, indent, depth);
    out += close;
  };
  switch (value.kind) {
    case Value::Kind::null:
      out += "null";
      return;
    case Value::Kind::boolean:
      out += value.boolean ? "true" : "false";
      return;
    case Value::Kind::integer:
      out += value.text;
      return;
    case Value::Kind::number:
      out += json_number(value.number);
      return;
    case Value::Kind::string:
      append_quoted(out, value.text);
      return;
    case Value::Kind::array:
      append_entries('[', ']', value.items.size(),
                     [&](std::size_t i) { append_json(out, value.items[i], indent, depth + 1); });
      return;
    case Value::Kind::object:
      append_entries('{', '}', value.members.size(), [&](std::size_t i) {
        append_quoted(out, value.members[i].first);
        out += ": ";
        append_json(out, value.members[i].second, indent, depth + 1);
      });
      return;
  }
}

/// str.isprintable of one character: everything but separators (the blank counts as printable) and "other".
bool is_printable(UChar32 c) {
  if (c == ' ') return true;
  constexpr std::uint32_t hidden =
      U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CS_MASK | U_GC_CO_MASK | U_GC_CN_MASK | U_GC_Z_MASK;
  return (U_GET_GC_MASK(c) & hidden) == 0;
}

std::string escaped(UChar32 c) {
  const auto code = static_cast<std::uint32_t>(c);
  if (code < 0x100) return fmt::format("\\x{:02x}", code);
  return code < 0x10000 ? fmt::format("\\u{:04x}", code) : fmt::format("\\U{:08x}", code);
}

/// repr of a string: single quotes unless it holds some and no double ones.
void append_string_repr(std::string& out, std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  out += quote;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(text.data());
  const auto length = static_cast<std::int32_t>(text.size());
  for (std::int32_t at = 0; at < length;) {
    const std::int32_t begin = at;
    UChar32 c = 0;
    U8_NEXT(bytes, at, length, c);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\\' || c == quote) {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c >= 0 && !is_printable(c)) {
      out += escaped(c);
    } else {
      out += text.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(at - begin));
    }
  }
  out += quote;
}

void append_repr(std::string& out, const Value& value) {
  switch (value.kind) {
    case Value::Kind::null:
      out += "None";
      return;
    case Value::Kind::boolean:
      out += value.boolean ? "True" : "False";
      return;
    case Value::Kind::integer:
      out += value.text;
      return;
    case Value::Kind::number:
      out += float_repr(value.number);
      return;
    case Value::Kind::string:
      append_string_repr(out, value.text);
      return;
    case Value::Kind::array:
      out += '[';
      for (const Value& item : value.items) {
        if (&item != &value.items.front()) out += ", ";
        append_repr(out, item);
      }
      out += ']';
      return;
    case Value::Kind::object:
      out += '{';
      for (const auto& [key, member] : value.members) {
        if (&key != &value.members.front().first) out += ", ";
        append_string_repr(out, key);
        out += ": ";
        append_repr(out, member);
      }
      out += '}';
      return;
  }
}

}  // namespace

Value Value::of(std::string string) {
  Value value;
  value.kind = Kind::string;
  value.text = std::move(string);
  return value;
}

Value Value::object(std::vector<Member> members) {
  Value value;
  value.kind = Kind::object;
  value.members = std::move(members);
  return value;
}

const Value* Value::find(std::string_view key) const noexcept {
  const auto it = std::find_if(members.begin(), members.end(), [&](const Member& m) { return m.first == key; });
  return it == members.end() ? nullptr : &it->second;
}

bool Value::truthy() const noexcept {
  switch (kind) {
    case Kind::null:
      return false;
    case Kind::boolean:
      return boolean;
    case Kind::integer:
      return text != "0";
    case Kind::number:
      return number != 0;  // NaN is true there, too
    case Kind::string:
      return !text.empty();
    case Kind::array:
      return !items.empty();
    case Kind::object:
      return !members.empty();
  }
  return false;
}

std::string dump_json(const Value& value, int indent) {
  std::string out;
  append_json(out, value, indent, 0);
  return out;
}

std::string to_text(const Value& value) {
  if (value.is(Value::Kind::string)) return value.text;
  std::string out;
  append_repr(out, value);
  return out;
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific);
  const std::string_view shortest(buffer.data(), static_cast<std::size_t>(end.ptr - buffer.data()));
  const std::size_t mark = shortest.find('e');
  int exponent = 0;
  // from_chars takes no plus sign.
  const char* first = shortest.data() + mark + (shortest[mark + 1] == '+' ? 2 : 1);
  std::from_chars(first, shortest.data() + shortest.size(), exponent);
  const std::string_view mantissa = shortest.substr(0, mark);
  if (exponent < -4 || exponent >= 16) {
    return fmt::format("{}e{}{:02d}", mantissa, exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  std::array<char, 64> fixed{};
  const auto fixed_end = std::to_chars(fixed.data(), fixed.data() + fixed.size(), value, std::chars_format::fixed);
  std::string out(fixed.data(), fixed_end.ptr);
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

}  // namespace dstrain::python
