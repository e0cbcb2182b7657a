// SPDX-License-Identifier: Apache-2.0
/// json.loads: what Python's json module takes, and nothing else.
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <string>
#include <unordered_map>
#include <utility>

#include "data/tokenizers/unicode.hpp"
#include "data/tools/python_json.hpp"

namespace dstrain::python {
namespace {

/// Python's own recursion limit is 1000 frames; deeper text is refused here as well.
constexpr int max_depth = 500;
/// Python converts no longer digit strings (sys.get_int_max_str_digits).
constexpr std::size_t max_integer_digits = 4300;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  std::optional<Value> document() {
    Value value;
    skip_blanks();
    if (!parse(value, 0)) return std::nullopt;
    skip_blanks();
    if (at_ != text_.size()) return std::nullopt;
    return value;
  }

 private:
  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_blanks() {
    while (at_ < text_.size() && (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r')) ++at_;
  }
  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  bool take_constant(std::string_view word, Value constant, Value& value) {
    if (!take(word)) return false;
    value = std::move(constant);
    return true;
  }
  static Value boolean(bool b) {
    Value value;
    value.kind = Value::Kind::boolean;
    value.boolean = b;
    return value;
  }
  static Value number(double d) {
    Value value;
    value.kind = Value::Kind::number;
    value.number = d;
    return value;
  }

  bool parse(Value& value, int depth) {
    if (depth > max_depth) return false;
    switch (peek()) {
      case '{':
        return parse_object(value, depth);
      case '[':
        return parse_array(value, depth);
      case '"':
        value.kind = Value::Kind::string;
        return parse_string(value.text);
      case 'n':
        return take_constant("null", {}, value);
      case 't':
        return take_constant("true", boolean(true), value);
      case 'f':
        return take_constant("false", boolean(false), value);
      case 'N':
        return take_constant("NaN", number(std::numeric_limits<double>::quiet_NaN()), value);
      case 'I':
        return take_constant("Infinity", number(std::numeric_limits<double>::infinity()), value);
      default:
        if (take("-Infinity")) {
          value = number(-std::numeric_limits<double>::infinity());
          return true;
        }
        return parse_number(value);
    }
  }

  bool parse_array(Value& value, int depth) {
    value.kind = Value::Kind::array;
    ++at_;
    skip_blanks();
    if (take("]")) return true;
    for (;;) {
      skip_blanks();
      if (!parse(value.items.emplace_back(), depth + 1)) return false;
      skip_blanks();
      if (take("]")) return true;
      if (!take(",")) return false;
    }
  }

  bool parse_object(Value& value, int depth) {
    value.kind = Value::Kind::object;
    ++at_;
    skip_blanks();
    if (take("}")) return true;
    std::unordered_map<std::string, std::size_t> places;
    for (;;) {
      std::string key;
      skip_blanks();
      if (peek() != '"' || !parse_string(key)) return false;
      skip_blanks();
      if (!take(":")) return false;
      skip_blanks();
      Value member;
      if (!parse(member, depth + 1)) return false;
      const auto [known, is_new] = places.try_emplace(key, value.members.size());
      if (is_new) {
        value.members.emplace_back(std::move(key), std::move(member));
      } else {
        value.members[known->second].second = std::move(member);
      }
      skip_blanks();
      if (take("}")) return true;
      if (!take(",")) return false;
    }
  }

  bool parse_string(std::string& out) {
    ++at_;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return unicode::is_valid_utf8(out);
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c != '\\') {
        out += c;
      } else if (!parse_escape(out)) {
        return false;
      }
    }
    return false;
  }

  bool parse_escape(std::string& out) {
    constexpr std::string_view names = "\"\\/bfnrt";
    constexpr std::string_view meanings = "\"\\/\b\f\n\r\t";
    const char c = peek();
    ++at_;
    if (const std::size_t i = names.find(c); c != '\0' && i != std::string_view::npos) {
      out += meanings[i];
      return true;
    }
    std::uint32_t code = 0;
    if (c != 'u' || !parse_hex(code)) return false;
    if (code >= 0xD800 && code < 0xDC00) {
      // Half a pair: Python keeps it and fails when the text becomes tokens. Refused here, where it can be named.
      std::uint32_t low = 0;
      if (!take("\\u") || !parse_hex(low) || low < 0xDC00 || low > 0xDFFF) return false;
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code <= 0xDFFF) {
      return false;
    }
    unicode::append_utf8(out, code);
    return true;
  }

  bool parse_hex(std::uint32_t& code) {
    if (text_.size() - std::min(at_, text_.size()) < 4) return false;
    const char* first = text_.data() + at_;
    const auto [end, error] = std::from_chars(first, first + 4, code, 16);
    at_ += 4;
    return error == std::errc{} && end == first + 4;
  }

  bool parse_number(Value& value) {
    const std::size_t begin = at_;
    if (peek() == '-') ++at_;
    if (!is_digit(peek())) return false;
    if (peek() == '0') {
      ++at_;
    } else {
      skip_digits();
    }
    const bool fraction = peek() == '.' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1]);
    if (fraction) {
      ++at_;
      skip_digits();
    }
    const bool exponent = skip_exponent();
    std::string digits(text_.substr(begin, at_ - begin));
    if (fraction || exponent) {
      // strtod and not from_chars: too large becomes infinity and too small zero, as float() has it.
      value = number(std::strtod(digits.c_str(), nullptr));
      return true;
    }
    value.kind = Value::Kind::integer;
    value.text = digits == "-0" ? "0" : std::move(digits);
    return value.text.size() <= max_integer_digits;
  }

  void skip_digits() {
    while (is_digit(peek())) ++at_;
  }

  /// Only a whole exponent is taken; what is left makes the document bad later.
  bool skip_exponent() {
    if (peek() != 'e' && peek() != 'E') return false;
    std::size_t next = at_ + 1;
    if (next < text_.size() && (text_[next] == '+' || text_[next] == '-')) ++next;
    if (next >= text_.size() || !is_digit(text_[next])) return false;
    at_ = next;
    skip_digits();
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

std::optional<Value> parse_json(std::string_view text) { return Parser(text).document(); }

}  // namespace dstrain::python
