// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/regex_dialect.hpp"

#include <array>
#include <cctype>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.hpp"

namespace dstrain {
namespace {

// PCRE2's \s also holds U+180E; the Unicode property does not. Items stand inside brackets.
constexpr std::string_view space_items =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view word_items = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
// What \w outside brackets and \b hold besides: Oniguruma asks Latin-1's table below U+0100, where these are digits.
constexpr std::string_view latin_word_items = R"(\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";
constexpr std::string_view posix_punctuation = R"(\p{P}\p{S})";
constexpr std::string_view hex_items = "0-9a-fA-F";
constexpr int max_depth = 250;

/// Property names that PCRE2 does not know, in Oniguruma's folded spelling.
constexpr std::array<std::pair<std::string_view, std::string_view>, 51> properties{{
    {"letter", R"(\p{L})"},
    {"casedletter", R"(\p{L&})"},
    {"uppercaseletter", R"(\p{Lu})"},
    {"lowercaseletter", R"(\p{Ll})"},
    {"titlecaseletter", R"(\p{Lt})"},
    {"modifierletter", R"(\p{Lm})"},
    {"otherletter", R"(\p{Lo})"},
    {"mark", R"(\p{M})"},
    {"combiningmark", R"(\p{M})"},
    {"nonspacingmark", R"(\p{Mn})"},
    {"spacingmark", R"(\p{Mc})"},
    {"enclosingmark", R"(\p{Me})"},
    {"number", R"(\p{N})"},
    {"decimalnumber", R"(\p{Nd})"},
    {"letternumber", R"(\p{Nl})"},
    {"othernumber", R"(\p{No})"},
    {"punctuation", R"(\p{P})"},
    {"connectorpunctuation", R"(\p{Pc})"},
    {"dashpunctuation", R"(\p{Pd})"},
    {"openpunctuation", R"(\p{Ps})"},
    {"closepunctuation", R"(\p{Pe})"},
    {"initialpunctuation", R"(\p{Pi})"},
    {"finalpunctuation", R"(\p{Pf})"},
    {"otherpunctuation", R"(\p{Po})"},
    {"symbol", R"(\p{S})"},
    {"mathsymbol", R"(\p{Sm})"},
    {"currencysymbol", R"(\p{Sc})"},
    {"modifiersymbol", R"(\p{Sk})"},
    {"othersymbol", R"(\p{So})"},
    {"separator", R"(\p{Z})"},
    {"spaceseparator", R"(\p{Zs})"},
    {"lineseparator", R"(\p{Zl})"},
    {"paragraphseparator", R"(\p{Zp})"},
    {"other", R"(\p{C})"},
    {"control", R"(\p{Cc})"},
    {"format", R"(\p{Cf})"},
    {"privateuse", R"(\p{Co})"},
    {"surrogate", R"(\p{Cs})"},
    {"unassigned", R"(\p{Cn})"},
    {"alpha", R"(\p{Alphabetic})"},
    {"lower", R"(\p{Lowercase})"},
    {"upper", R"(\p{Uppercase})"},
    {"digit", R"(\p{Nd})"},
    {"alnum", R"(\p{Alphabetic}\p{Nd})"},
    {"space", space_items},
    {"whitespace", space_items},
    {"word", word_items},
    {"xdigit", hex_items},
    {"blank", R"(\p{Zs}\x{9})"},
    {"cntrl", R"(\p{Cc})"},
    {"punct", R"(\p{P})"},
}};

/// One character class while it is read: what it holds, as items for brackets and as whole expressions.
struct CharacterClass {
  bool negated = false;
  std::string items;
  std::vector<std::string> expressions;  ///< each matches one character
};

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where) : in_(pattern), where_(where) {}

  std::string run() {
    while (at_ < in_.size()) step();
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view why) const {
    throw ConfigError(fmt::format("the pattern \"{}\" is not understood: {}", in_, why), where_);
  }
  [[nodiscard]] bool sees(std::string_view text) const { return in_.substr(at_).starts_with(text); }

  void atom(std::string_view text) {
    atom_ = out_.size();
    out_ += text;
  }

  void step() {
    switch (const char c = in_[at_]) {
      case '\\':
        return atom(escape_outside());
      case '[':
        return atom(character_class(0));
      case '(':
        groups_.push_back(out_.size());
        return open_group();
      case ')':
        ++at_;
        out_ += ')';
        if (!groups_.empty()) {
          atom_ = groups_.back();
          groups_.pop_back();
        }
        return;
      case '{':
        return interval();
      case '*':
      case '+':
      case '?':
        ++at_;
        out_ += c;
        return;
      default: {
        // A whole character: an interval behind it repeats all of its bytes.
        std::size_t end = at_ + 1;
        while (end < in_.size() && (static_cast<unsigned char>(in_[end]) & 0xC0U) == 0x80U) ++end;
        atom(in_.substr(at_, end - at_));
        at_ = end;
      }
    }
  }

  void open_group() {
    if (sees("(?~")) refuse("absence operators are not supported");
    if (!sees("(?")) {
      ++at_;
      out_ += '(';
      return;
    }
    out_ += "(?";
    at_ += 2;
    // Options: Ruby's m lets a dot match a line end, which PCRE2 calls s.
    while (at_ < in_.size() && (std::isalpha(static_cast<unsigned char>(in_[at_])) != 0 || in_[at_] == '-')) {
      if (in_[at_] == 'P') break;  // (?P<name>...)
      out_ += in_[at_] == 'm' ? 's' : in_[at_];
      ++at_;
    }
    if (at_ < in_.size() && in_[at_] == ')') {  // (?i): no group of its own
      out_ += ')';
      ++at_;
      groups_.pop_back();
      return;
    }
    if (at_ < in_.size() && in_[at_] == '#') {
      const auto end = in_.find(')', at_);
      if (end == std::string_view::npos) refuse("a comment does not end");
      out_.resize(out_.size() - 2);
      at_ = end + 1;
      groups_.pop_back();
      return;
    }
    if (at_ < in_.size() && in_.substr(at_, 1).find_first_of(":=!>") == 0) out_ += in_[at_++];
  }

  /// "{n,m}" as PCRE2 reads it; anything else that starts so is text.
  void interval() {
    const auto end = in_.find('}', at_);
    const std::string_view inner = end == std::string_view::npos ? "" : in_.substr(at_ + 1, end - at_ - 1);
    const bool is_interval = !inner.empty() && inner != "," && inner.find_first_not_of("0123456789,") == inner.npos &&
                             inner.find(',') == inner.rfind(',');
    if (!is_interval) {
      atom("\\{");
      ++at_;
      return;
    }
    at_ = end + 1;
    const std::string text = fmt::format("{{{}{}}}", inner.front() == ',' ? "0" : "", inner);
    if (at_ < in_.size() && in_[at_] == '+') {
      out_.insert(atom_, "(?:");
      out_ += text + ")";
    } else {
      out_ += text;
    }
  }

  struct Escape {
    std::string items;     ///< for brackets
    bool negated = false;  ///< the items are what it does not match
  };

  /// \s \S \w \W \h \H and properties; none (and nothing read) for any other.
  std::optional<Escape> class_escape() {
    if (at_ + 1 >= in_.size()) refuse("it ends with a backslash");
    const char c = in_[at_ + 1];
    const bool upper = std::isupper(static_cast<unsigned char>(c)) != 0;
    const auto take = [&](std::string_view items) {
      at_ += 2;
      return Escape{std::string(items), upper};
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
        return property(upper);
      default:
        return std::nullopt;
    }
  }

  Escape property(bool negated) {
    if (at_ + 2 >= in_.size() || in_[at_ + 2] != '{') {  // \pL
      const Escape found{std::string("\\p") + (at_ + 2 < in_.size() ? in_[at_ + 2] : ' '), negated};
      at_ = std::min(at_ + 3, in_.size());
      return found;
    }
    const auto end = in_.find('}', at_);
    if (end == std::string_view::npos) refuse("a property name does not end");
    std::string_view name = in_.substr(at_ + 3, end - at_ - 3);
    at_ = end + 1;
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    std::string folded;
    for (const char c : name) {
      if (c != ' ' && c != '_' && c != '-') folded += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    for (const auto& [known, items] : properties) {
      if (folded == known) return {std::string(items), negated};
    }
    return {fmt::format("\\p{{{}}}", name), negated};
  }

  std::string escape_outside() {
    if (const auto found = class_escape()) {
      return fmt::format("[{}{}{}]", found->negated ? "^" : "", found->items,
                         found->items == word_items ? latin_word_items : "");
    }
    const char c = in_[at_ + 1];
    if (c == 'b' || c == 'B') {
      at_ += 2;
      constexpr const char* boundary = "(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))";
      constexpr const char* no_boundary = "(?:(?<=[{0}])(?=[{0}])|(?<![{0}])(?![{0}]))";
      return fmt::format(fmt::runtime(c == 'b' ? boundary : no_boundary),
                         fmt::format("{}{}", word_items, latin_word_items));
    }
    return plain_escape();
  }

  /// A backslash with what belongs to it, unchanged.
  std::string plain_escape() {
    std::size_t end = at_ + 2;
    if (in_.substr(at_).starts_with("\\x{")) {
      const auto brace = in_.find('}', at_);
      if (brace == std::string_view::npos) refuse("a code point does not end");
      end = brace + 1;
    } else if (in_.substr(at_).starts_with("\\u") && at_ + 6 <= in_.size()) {  // \uHHHH, which PCRE2 writes \x{HHHH}
      const std::string text = fmt::format("\\x{{{}}}", in_.substr(at_ + 2, 4));
      at_ += 6;
      return text;
    }
    while (end < in_.size() && (static_cast<unsigned char>(in_[end]) & 0xC0U) == 0x80U) ++end;
    std::string text(in_.substr(at_, end - at_));
    at_ = end;
    return text;
  }

  /// An expression that matches one character of the class.
  static std::string expression_of(const CharacterClass& c) {
    if (c.expressions.empty()) return fmt::format("[{}{}]", c.negated ? "^" : "", c.items);
    std::string any = c.items.empty() ? "" : fmt::format("[{}]|", c.items);
    for (const auto& expression : c.expressions) any += expression + "|";
    any.pop_back();
    return c.negated ? fmt::format("(?:(?!{})(?s:.))", any) : fmt::format("(?:{})", any);
  }

  std::string character_class(int depth) { return expression_of(read_class(depth)); }

  CharacterClass read_class(int depth) {
    if (depth > max_depth) refuse("its classes are nested too deeply");
    CharacterClass current;
    ++at_;  // [
    if (sees("^")) {
      current.negated = true;
      ++at_;
    }
    std::vector<std::string> both;  // operands of && read so far
    bool first = true;
    while (true) {
      if (at_ >= in_.size()) refuse("a character class does not end");
      if (in_[at_] == ']' && !first) break;
      first = false;
      if (sees("[:")) {
        posix(current);
      } else if (in_[at_] == '[') {
        nested(current, depth);
      } else if (sees("&&")) {
        at_ += 2;
        both.push_back(expression_of({false, std::move(current.items), std::move(current.expressions)}));
        current.items.clear();
        current.expressions.clear();
      } else if (in_[at_] == '\\') {
        if (const auto found = class_escape()) {
          add_escape(current, *found);
        } else {
          current.items += plain_escape();
        }
      } else {
        current.items += in_[at_] == ']' ? "\\]" : std::string(1, in_[at_]);
        ++at_;
      }
    }
    ++at_;  // ]
    if (both.empty()) return current;
    std::string all;
    for (const auto& operand : both) all += fmt::format("(?={})", operand);
    all += expression_of({false, std::move(current.items), std::move(current.expressions)});
    return {current.negated, "", {fmt::format("(?:{})", all)}};
  }

  static void add_escape(CharacterClass& into, const Escape& found) {
    if (!found.negated) {
      into.items += found.items;
    } else if (found.items.starts_with("\\p{") && found.items.find('}') == found.items.size() - 1) {
      into.items += "\\P" + found.items.substr(2);
    } else {
      into.expressions.push_back(fmt::format("[^{}]", found.items));
    }
  }

  void nested(CharacterClass& into, int depth) {
    CharacterClass inner = read_class(depth + 1);
    if (!inner.negated && inner.expressions.empty()) {
      into.items += inner.items;
    } else {
      into.expressions.push_back(expression_of(inner));
    }
  }

  /// [:name:] and [:^name:] inside a class.
  void posix(CharacterClass& into) {
    const auto end = in_.find(":]", at_ + 2);
    if (end == std::string_view::npos) return nested(into, 0);
    std::string_view name = in_.substr(at_ + 2, end - at_ - 2);
    const bool negated = name.starts_with('^');
    if (negated) name.remove_prefix(1);
    for (const auto& [known, items] : properties) {
      if (name != known) continue;
      at_ = end + 2;
      return add_escape(into, {std::string(name == "punct" ? posix_punctuation : items), negated});
    }
    into.items += in_.substr(at_, end + 2 - at_);
    at_ = end + 2;
  }

  std::string_view in_;
  const std::string& where_;
  std::size_t at_ = 0;
  std::string out_;
  std::size_t atom_ = 0;             ///< where the last thing that can be repeated starts in out_
  std::vector<std::size_t> groups_;  ///< the same for each open group
};

}  // namespace

std::string to_pcre2(std::string_view pattern, const std::string& where) { return Translator(pattern, where).run(); }

}  // namespace dstrain
