// SPDX-License-Identifier: Apache-2.0
/// The parser of Jinja's expressions: operators in expressions.cpp, what they work on in operands.cpp.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/jinja/program.hpp"
#include "data/jinja/token_cursor.hpp"

namespace dstrain::jinja {

/// The arguments of a call as they are written.
struct CallSyntax {
  std::vector<Expression> positional;
  std::vector<std::pair<std::string, Expression>> named;

  [[nodiscard]] Arguments evaluate(Scope& scope) const;
};

/// One expression, parsed into closures; a function for each level of the grammar, which calls the next tighter one.
/// Each throws ConfigError where the tokens are none.
class ExpressionParser {
 public:
  /// @param tokens  moves behind the expression
  explicit ExpressionParser(TokenCursor& tokens) : tokens_(tokens) {}

  Expression condition();
  Expression disjunction();

 private:
  /// One level deeper while it lives. @throws ConfigError  too deep
  class Deeper {
   public:
    explicit Deeper(int& depth);
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    ~Deeper() { --depth_; }

   private:
    int& depth_;
  };
  /// Counts what hangs together. @throws ConfigError  too much of it
  void link();

  Expression conjunction();
  Expression negation();
  Expression comparison();
  std::string comparison_operator();
  Expression binary(std::initializer_list<std::string_view> ops, Expression (ExpressionParser::*operand)());
  Expression sum();
  Expression concatenation();
  Expression product();
  Expression power();
  Expression sign();

  Expression primary();
  Expression parenthesis();
  Expression list();
  Expression dict();
  CallSyntax call_arguments();
  Expression postfix(Expression value);
  Expression member(Expression value);
  Expression index(Expression value);
  Expression filters(Expression value);
  Expression test(Expression value);
  [[nodiscard]] bool takes_argument() const;

  TokenCursor& tokens_;
  int depth_ = 0;
  int links_ = 0;
};

}  // namespace dstrain::jinja
