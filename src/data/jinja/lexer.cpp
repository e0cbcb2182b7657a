// SPDX-License-Identifier: Apache-2.0
#include "data/jinja/lexer.hpp"

#include <algorithm>
#include <array>

#include "core/error.hpp"
#include "data/jinja/value.hpp"

namespace dstrain::jinja {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {
    // As Jinja: one line break at the very end does not count.
    if (source_.ends_with('\n')) source_.remove_suffix(1);
    if (source_.ends_with('\r')) source_.remove_suffix(1);
  }

  std::vector<Token> run() {
    while (at_ < source_.size()) text_and_tag();
    tokens_.push_back({Token::Kind::end, ""});
    return std::move(tokens_);
  }

 private:
  void text_and_tag() {
    std::size_t tag = source_.find('{', at_);
    while (tag != std::string_view::npos && !is_tag(tag)) tag = source_.find('{', tag + 1);
    std::string_view text = source_.substr(at_, tag == std::string_view::npos ? tag : tag - at_);
    if (tag == std::string_view::npos) {
      add_text(text);
      at_ = source_.size();
      return;
    }
    const char kind = source_[tag + 1];
    const char control = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (control == '-') {
      while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
    } else if (kind != '{' && control != '+') {
      strip_line_start(text);
    }
    add_text(text);
    at_ = tag + (control == '-' || control == '+' ? 3 : 2);
    if (kind == '#') {
      comment();
    } else {
      tag_tokens(kind == '{');
    }
  }

  [[nodiscard]] bool is_tag(std::size_t at) const {
    return at + 1 < source_.size() && (source_[at + 1] == '{' || source_[at + 1] == '%' || source_[at + 1] == '#');
  }

  void add_text(std::string_view text) {
    if (!text.empty()) tokens_.push_back({Token::Kind::text, std::string(text)});
  }

  /// lstrip_blocks: blanks between the line's start and a block do not count.
  void strip_line_start(std::string_view& text) const {
    std::size_t end = text.size();
    while (end > 0 && (text[end - 1] == ' ' || text[end - 1] == '\t')) --end;
    const bool at_line_start = end > 0 ? text[end - 1] == '\n' : (at_ == 0 || source_[at_ - 1] == '\n');
    if (at_line_start) text = text.substr(0, end);
  }

  void comment() {
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string_view::npos) fail("has a comment without end");
    const bool strip = end > at_ && source_[end - 1] == '-';
    at_ = end + 2;
    after_tag(strip, /*block=*/true);
  }

  /// trim_blocks: the line break behind a block does not count.
  void after_tag(bool strip, bool block) {
    if (strip) {
      while (at_ < source_.size() && is_blank(source_[at_])) ++at_;
    } else if (block && source_.substr(at_, 2) == "\r\n") {
      at_ += 2;
    } else if (block && at_ < source_.size() && source_[at_] == '\n') {
      ++at_;
    }
  }

  void tag_tokens(bool output) {
    const std::string_view close = output ? "}}" : "%}";
    tokens_.push_back({output ? Token::Kind::output_begin : Token::Kind::block_begin, ""});
    int brackets = 0;  // a dict's brackets may end as }}
    for (;;) {
      while (at_ < source_.size() && is_blank(source_[at_])) ++at_;
      if (at_ >= source_.size()) fail("has a tag without end");
      const bool strip = source_[at_] == '-' && source_.substr(at_ + 1, 2) == close;
      if (brackets == 0 && (strip || source_.substr(at_, 2) == close)) {
        at_ += strip ? 3 : 2;
        tokens_.push_back({output ? Token::Kind::output_end : Token::Kind::block_end, ""});
        after_tag(strip, !output);
        return;
      }
      expression_token(brackets);
    }
  }

  void expression_token(int& brackets) {
    const char c = source_[at_];
    if (is_name_start(c)) {
      take_while(Token::Kind::name, [](char d) { return is_name_start(d) || is_digit(d); });
    } else if (is_digit(c)) {
      number();
    } else if (c == '"' || c == '\'') {
      string(c);
    } else {
      op(brackets);
    }
  }

  template <typename Condition>
  void take_while(Token::Kind kind, const Condition& condition) {
    const std::size_t begin = at_;
    while (at_ < source_.size() && condition(source_[at_])) ++at_;
    tokens_.push_back({kind, std::string(source_.substr(begin, at_ - begin))});
  }

  void number() {
    const std::size_t begin = at_;
    while (at_ < source_.size() && is_digit(source_[at_])) ++at_;
    if (at_ + 1 < source_.size() && source_[at_] == '.' && is_digit(source_[at_ + 1])) {
      ++at_;
      while (at_ < source_.size() && is_digit(source_[at_])) ++at_;
    }
    std::size_t exponent = at_ + 1;
    if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) ++exponent;
    if (exponent < source_.size() && (source_[at_] == 'e' || source_[at_] == 'E') && is_digit(source_[exponent])) {
      at_ = exponent;
      while (at_ < source_.size() && is_digit(source_[at_])) ++at_;
    }
    tokens_.push_back({Token::Kind::number, std::string(source_.substr(begin, at_ - begin))});
  }

  void string(char quote) {
    std::string out;
    for (++at_; at_ < source_.size() && source_[at_] != quote; ++at_) {
      if (source_[at_] != '\\' || at_ + 1 >= source_.size()) {
        out += source_[at_];
        continue;
      }
      const char c = source_[++at_];
      constexpr std::string_view names = "ntrbf\\'\"";
      constexpr std::string_view meanings = "\n\t\r\b\f\\'\"";
      const std::size_t i = names.find(c);
      if (i == std::string_view::npos) out += '\\';  // as Python: an unknown escape is two characters
      out += i == std::string_view::npos ? c : meanings[i];
    }
    if (at_ >= source_.size()) fail("has a string without end");
    ++at_;
    tokens_.push_back({Token::Kind::string, std::move(out)});
  }

  void op(int& brackets) {
    constexpr std::array<std::string_view, 6> doubles = {"==", "!=", "<=", ">=", "//", "**"};
    constexpr std::string_view singles = "+-*/%~<>=.,:|()[]{}";
    const bool is_double = std::find(doubles.begin(), doubles.end(), source_.substr(at_, 2)) != doubles.end();
    if (!is_double && singles.find(source_[at_]) == std::string_view::npos)
      fail(fmt::format("has the character `{}` where none is known", source_[at_]));
    const std::string_view text = source_.substr(at_, is_double ? 2 : 1);
    if (text == "{" || text == "[" || text == "(") ++brackets;
    if ((text == "}" || text == "]" || text == ")") && brackets > 0) --brackets;
    at_ += text.size();
    tokens_.push_back({Token::Kind::op, std::string(text)});
  }

  std::string_view source_;
  std::size_t at_ = 0;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace dstrain::jinja
