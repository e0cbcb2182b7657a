// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/regex_class.hpp"

#include <algorithm>
#include <cctype>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "data/tokenizers/regex_properties.hpp"

namespace dstrain::regex {
namespace {

constexpr int max_depth = 250;

/// One character class while it is read: what it holds, as items for brackets and as whole expressions.
struct CharacterClass {
  bool negated = false;
  std::string items;
  std::vector<std::string> expressions;  ///< each matches one character
};

ClassEscape property(PatternCursor& p, bool negated) {
  if (p.at + 2 >= p.in.size() || p.in[p.at + 2] != '{') {  // \pL
    ClassEscape found{std::string("\\p") + (p.at + 2 < p.in.size() ? p.in[p.at + 2] : ' '), negated};
    p.at = std::min(p.at + 3, p.in.size());
    return found;
  }
  const auto end = p.in.find('}', p.at);
  if (end == std::string_view::npos) p.refuse("a property name does not end");
  std::string_view name = p.in.substr(p.at + 3, end - p.at - 3);
  p.at = end + 1;
  if (name.starts_with('^')) {
    negated = !negated;
    name.remove_prefix(1);
  }
  std::string folded;
  for (const char c : name) {
    if (c != ' ' && c != '_' && c != '-') folded += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  if (const auto items = property_items(folded)) return {std::string(*items), negated};
  return {fmt::format("\\p{{{}}}", name), negated};
}

/// An expression that matches one character of the class.
std::string expression_of(const CharacterClass& c) {
  if (c.expressions.empty()) return fmt::format("[{}{}]", c.negated ? "^" : "", c.items);
  std::string any = c.items.empty() ? "" : fmt::format("[{}]|", c.items);
  for (const auto& expression : c.expressions) any += expression + "|";
  any.pop_back();
  return c.negated ? fmt::format("(?:(?!{})(?s:.))", any) : fmt::format("(?:{})", any);
}

void add_escape(CharacterClass& into, const ClassEscape& found) {
  if (!found.negated) {
    into.items += found.items;
  } else if (found.items.starts_with("\\p{") && found.items.find('}') == found.items.size() - 1) {
    into.items += "\\P" + found.items.substr(2);
  } else {
    into.expressions.push_back(fmt::format("[^{}]", found.items));
  }
}

CharacterClass read_class(PatternCursor& p, int depth);

void nested(PatternCursor& p, CharacterClass& into, int depth) {
  CharacterClass inner = read_class(p, depth + 1);
  if (!inner.negated && inner.expressions.empty()) {
    into.items += inner.items;
  } else {
    into.expressions.push_back(expression_of(inner));
  }
}

/// [:name:] and [:^name:] inside a class.
void posix(PatternCursor& p, CharacterClass& into, int depth) {
  const auto end = p.in.find(":]", p.at + 2);
  if (end == std::string_view::npos) return nested(p, into, depth);
  std::string_view name = p.in.substr(p.at + 2, end - p.at - 2);
  const bool negated = name.starts_with('^');
  if (negated) name.remove_prefix(1);
  if (const auto items = property_items(name)) {
    p.at = end + 2;
    return add_escape(into, {std::string(name == "punct" ? posix_punctuation : *items), negated});
  }
  into.items += p.in.substr(p.at, end + 2 - p.at);
  p.at = end + 2;
}

CharacterClass read_class(PatternCursor& p, int depth) {
  if (depth > max_depth) p.refuse("its classes are nested too deeply");
  CharacterClass current;
  ++p.at;  // [
  if (p.sees("^")) {
    current.negated = true;
    ++p.at;
  }
  std::vector<std::string> both;  // operands of && read so far
  bool first = true;
  while (true) {
    if (p.at >= p.in.size()) p.refuse("a character class does not end");
    if (p.in[p.at] == ']' && !first) break;
    first = false;
    if (p.sees("[:")) {
      posix(p, current, depth);
    } else if (p.in[p.at] == '[') {
      nested(p, current, depth);
    } else if (p.sees("&&")) {
      p.at += 2;
      both.push_back(expression_of({false, std::move(current.items), std::move(current.expressions)}));
      current.items.clear();
      current.expressions.clear();
    } else if (p.in[p.at] == '\\') {
      if (const auto found = class_escape(p)) {
        add_escape(current, *found);
      } else {
        current.items += plain_escape(p);
      }
    } else {
      current.items += p.in[p.at] == ']' ? "\\]" : std::string(1, p.in[p.at]);
      ++p.at;
    }
  }
  ++p.at;  // ]
  if (both.empty()) return current;
  std::string all;
  for (const auto& operand : both) all += fmt::format("(?={})", operand);
  all += expression_of({false, std::move(current.items), std::move(current.expressions)});
  return {current.negated, "", {fmt::format("(?:{})", all)}};
}

}  // namespace

void PatternCursor::refuse(std::string_view why) const {
  throw ConfigError(fmt::format("the pattern \"{}\" is not understood: {}", in, why), where);
}

std::size_t PatternCursor::end_of_character(std::size_t from) const {
  std::size_t end = from + 1;
  while (end < in.size() && (static_cast<unsigned char>(in[end]) & 0xC0U) == 0x80U) ++end;
  return end;
}

std::optional<ClassEscape> class_escape(PatternCursor& p) {
  if (p.at + 1 >= p.in.size()) p.refuse("it ends with a backslash");
  const char c = p.in[p.at + 1];
  const bool upper = std::isupper(static_cast<unsigned char>(c)) != 0;
  const auto take = [&](std::string_view items) {
    p.at += 2;
    return ClassEscape{std::string(items), upper};
  };
  switch (c) {
    case 's':
    case 'S':
      return take(space_items);
    case 'w':
    case 'W':
      return take(word_items);
    case 'h':
    case 'H':
      return take(hex_items);
    case 'p':
    case 'P':
      return property(p, upper);
    default:
      return std::nullopt;
  }
}

std::string plain_escape(PatternCursor& p) {
  std::size_t end = p.at + 2;
  if (p.sees("\\x{")) {
    const auto brace = p.in.find('}', p.at);
    if (brace == std::string_view::npos) p.refuse("a code point does not end");
    end = brace + 1;
  } else if (p.sees("\\u") && p.at + 6 <= p.in.size()) {  // \uHHHH, which PCRE2 writes \x{HHHH}
    const std::string text = fmt::format("\\x{{{}}}", p.in.substr(p.at + 2, 4));
    p.at += 6;
    return text;
  }
  end = p.end_of_character(end - 1);
  std::string text(p.in.substr(p.at, end - p.at));
  p.at = end;
  return text;
}

std::string character_class(PatternCursor& p) { return expression_of(read_class(p, 0)); }

}  // namespace dstrain::regex
