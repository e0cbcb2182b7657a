// SPDX-License-Identifier: Apache-2.0
/// Expressions of Jinja: operators, with precedence as in its grammar.
#include <initializer_list>

#include "core/error.hpp"
#include "data/jinja/expression_parser.hpp"

namespace dstrain::jinja {
namespace {

constexpr int max_nested_expressions = 200;
/// Operators, filters and members that hang together: each runs inside the next.
constexpr int max_links = 1000;

/// The operator that stands here, taken; empty where it is none of `ops`.
std::string take_one_of(TokenCursor& tokens, std::initializer_list<std::string_view> ops) {
  for (const auto op : ops) {
    if (tokens.take_op(op)) return std::string(op);
  }
  return {};
}

}  // namespace

ExpressionParser::Deeper::Deeper(int& depth) : depth_(depth) {
  if (++depth_ > max_nested_expressions) fail("is nested too deeply");
}

void ExpressionParser::link() {
  if (++links_ > max_links) fail("has an expression that is too long");
}

Expression ExpressionParser::condition() {
  Deeper deeper(depth_);
  Expression value = disjunction();
  while (tokens_.take_name("if")) {
    link();
    Expression when = disjunction();
    Expression otherwise = [](Scope&) { return Value(); };
    if (tokens_.take_name("else")) otherwise = condition();
    value = [value, when, otherwise](Scope& s) { return when(s).truthy() ? value(s) : otherwise(s); };
  }
  return value;
}

Expression ExpressionParser::disjunction() {
  Expression left = conjunction();
  while (tokens_.take_name("or")) {
    link();
    left = [left, right = conjunction()](Scope& s) {
      Value value = left(s);
      return value.truthy() ? value : right(s);
    };
  }
  return left;
}

Expression ExpressionParser::conjunction() {
  Expression left = negation();
  while (tokens_.take_name("and")) {
    link();
    left = [left, right = negation()](Scope& s) {
      Value value = left(s);
      return value.truthy() ? right(s) : value;
    };
  }
  return left;
}

Expression ExpressionParser::negation() {
  if (!tokens_.take_name("not")) return comparison();
  Deeper deeper(depth_);
  return [inner = negation()](Scope& s) { return Value(!inner(s).truthy()); };
}

std::string ExpressionParser::comparison_operator() {
  if (std::string op = take_one_of(tokens_, {"==", "!=", "<", "<=", ">", ">="}); !op.empty()) return op;
  if (tokens_.take_name("in")) return "in";
  const Token& after = tokens_.after();
  if (!tokens_.is_name("not") || after.kind != Token::Kind::name || after.text != "in") return {};
  tokens_.skip();
  tokens_.skip();
  return "not in";
}

/// Chains as in Python: a < b < c.
Expression ExpressionParser::comparison() {
  Expression first = sum();
  std::vector<std::pair<std::string, Expression>> rest;
  for (;;) {
    const std::string op = comparison_operator();
    if (op.empty()) break;
    rest.emplace_back(op, sum());
  }
  if (rest.empty()) return first;
  return [first, rest](Scope& s) {
    Value left = first(s);
    for (const auto& [op, expression] : rest) {
      Value right = expression(s);
      const bool is_membership = op == "in" || op == "not in";
      if (is_membership ? contains(right, left) == (op == "not in") : !compare(op, left, right)) return Value(false);
      left = std::move(right);
    }
    return Value(true);
  };
}

Expression ExpressionParser::binary(std::initializer_list<std::string_view> ops,
                                    Expression (ExpressionParser::*operand)()) {
  Expression left = (this->*operand)();
  for (;;) {
    const std::string op = take_one_of(tokens_, ops);
    if (op.empty()) return left;
    link();
    left = [op, left, right = (this->*operand)()](Scope& s) {
      const Value a = left(s);
      return arithmetic(op, a, right(s));
    };
  }
}
Expression ExpressionParser::sum() { return binary({"+", "-"}, &ExpressionParser::concatenation); }
Expression ExpressionParser::concatenation() { return binary({"~"}, &ExpressionParser::product); }
Expression ExpressionParser::product() { return binary({"*", "/", "//", "%"}, &ExpressionParser::power); }
Expression ExpressionParser::power() { return binary({"**"}, &ExpressionParser::sign); }

Expression ExpressionParser::sign() {
  Deeper deeper(depth_);
  if (tokens_.take_op("-"))
    return [inner = sign()](Scope& s) { return arithmetic("*", Value(std::int64_t{-1}), inner(s)); };
  if (tokens_.take_op("+")) return sign();
  return filters(postfix(primary()));
}

Expression parse_expression(TokenCursor& tokens) { return ExpressionParser(tokens).condition(); }

Expression parse_without_condition(TokenCursor& tokens) { return ExpressionParser(tokens).disjunction(); }

}  // namespace dstrain::jinja
