// SPDX-License-Identifier: Apache-2.0
/// A place in the tokens of a template: what the parsers of expressions and of statements look at and take.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "data/jinja/lexer.hpp"

namespace dstrain::jinja {

/// Goes over tokens from the first to the last, which is of kind end. Local.
class TokenCursor {
 public:
  /// @param tokens  outlive the cursor
  explicit TokenCursor(const std::vector<Token>& tokens) : tokens_(tokens) {}

  [[nodiscard]] const Token& peek() const { return tokens_[at_]; }
  /// The token behind peek().
  [[nodiscard]] const Token& after() const { return tokens_[at_ + 1]; }
  const Token& take() { return tokens_[at_++]; }
  void skip() { ++at_; }

  [[nodiscard]] bool is_op(std::string_view text) const { return is(Token::Kind::op, text); }
  [[nodiscard]] bool is_name(std::string_view text) const { return is(Token::Kind::name, text); }
  bool take_op(std::string_view text) { return take(Token::Kind::op, text); }
  bool take_name(std::string_view text) { return take(Token::Kind::name, text); }
  /// @throws ConfigError  another token stands here
  void expect_op(std::string_view text);
  /// @throws ConfigError  no name stands here
  std::string name();

 private:
  [[nodiscard]] bool is(Token::Kind kind, std::string_view text) const {
    return peek().kind == kind && peek().text == text;
  }
  bool take(Token::Kind kind, std::string_view text) {
    if (!is(kind, text)) return false;
    skip();
    return true;
  }

  const std::vector<Token>& tokens_;
  std::size_t at_ = 0;
};

}  // namespace dstrain::jinja
