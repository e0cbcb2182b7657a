// SPDX-License-Identifier: Apache-2.0
/// Expressions of Jinja: values, and what stands behind them (calls, members, subscripts, filters and tests).
#include <charconv>
#include <cstdlib>

#include "core/error.hpp"
#include "data/jinja/expression_parser.hpp"

namespace dstrain::jinja {
namespace {

Expression number(const std::string& text) {
  if (text.find_first_of(".eE") != std::string::npos)
    return [value = Value(std::strtod(text.c_str(), nullptr))](Scope&) { return value; };
  std::int64_t whole = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), whole).ec != std::errc{})
    fail(fmt::format("has the number {}, which is too large", text));
  return [value = Value(whole)](Scope&) { return value; };
}

Expression variable(const std::string& name) {
  if (name == "true" || name == "True") return [](Scope&) { return Value(true); };
  if (name == "false" || name == "False") return [](Scope&) { return Value(false); };
  if (name == "none" || name == "None") return [](Scope&) { return Value(None{}); };
  return [name](Scope& s) { return s.get(name); };
}

Expression list_of(std::vector<Expression> items) {
  return [items = std::move(items)](Scope& s) {
    List out;
    for (const auto& item : items) out.push_back(item(s));
    return Value(std::move(out));
  };
}

}  // namespace

Arguments CallSyntax::evaluate(Scope& scope) const {
  Arguments arguments;
  for (const auto& expression : positional) arguments.positional.push_back(expression(scope));
  for (const auto& [name, expression] : named) arguments.named.emplace_back(name, expression(scope));
  return arguments;
}

Expression ExpressionParser::primary() {
  const Token token = tokens_.take();
  switch (token.kind) {
    case Token::Kind::string: {
      std::string text = token.text;
      while (tokens_.peek().kind == Token::Kind::string) text += tokens_.take().text;  // "a" "b" is one text
      return [value = Value(text)](Scope&) { return value; };
    }
    case Token::Kind::number:
      return number(token.text);
    case Token::Kind::name:
      return variable(token.text);
    case Token::Kind::op:
      if (token.text == "(") return parenthesis();
      if (token.text == "[") return list();
      if (token.text == "{") return dict();
      break;
    default:
      break;
  }
  fail(fmt::format("has `{}` where a value belongs", token.text));
}

/// A value in brackets, or a tuple, which is a list here.
Expression ExpressionParser::parenthesis() {
  if (tokens_.take_op(")")) return [](Scope&) { return Value(List{}); };
  Expression first = condition();
  if (!tokens_.is_op(",")) {
    tokens_.expect_op(")");
    return first;
  }
  std::vector<Expression> items = {first};
  while (tokens_.take_op(",") && !tokens_.is_op(")")) items.push_back(condition());
  tokens_.expect_op(")");
  return list_of(std::move(items));
}

Expression ExpressionParser::list() {
  std::vector<Expression> items;
  while (!tokens_.is_op("]")) {
    items.push_back(condition());
    if (!tokens_.take_op(",")) break;
  }
  tokens_.expect_op("]");
  return list_of(std::move(items));
}

Expression ExpressionParser::dict() {
  std::vector<std::pair<Expression, Expression>> entries;
  while (!tokens_.is_op("}")) {
    Expression key = condition();
    tokens_.expect_op(":");
    entries.emplace_back(std::move(key), condition());
    if (!tokens_.take_op(",")) break;
  }
  tokens_.expect_op("}");
  return [entries](Scope& s) {
    Dict out;
    for (const auto& [key, value] : entries) out.emplace_back(key(s).text(), value(s));
    return Value(std::move(out));
  };
}

CallSyntax ExpressionParser::call_arguments() {
  CallSyntax call;
  while (!tokens_.is_op(")")) {
    if (tokens_.peek().kind == Token::Kind::name && tokens_.after().kind == Token::Kind::op &&
        tokens_.after().text == "=") {
      std::string key = tokens_.name();
      tokens_.skip();
      call.named.emplace_back(std::move(key), condition());
    } else {
      call.positional.push_back(condition());
    }
    if (!tokens_.take_op(",")) break;
  }
  tokens_.expect_op(")");
  return call;
}

Expression ExpressionParser::postfix(Expression value) {
  for (;;) {
    link();
    if (tokens_.take_op(".")) {
      value = member(std::move(value));
    } else if (tokens_.take_op("[")) {
      value = index(std::move(value));
    } else if (tokens_.take_op("(")) {
      value = [value, call = call_arguments()](Scope& s) {
        const Value callee = value(s);
        if (callee.function() == nullptr) fail(fmt::format("calls {}", callee.type()));
        return (*callee.function())(call.evaluate(s));
      };
    } else {
      return value;
    }
  }
}

/// value.name, or value.name(...): a member that can be called goes before a method.
Expression ExpressionParser::member(Expression value) {
  if (tokens_.peek().kind == Token::Kind::number) {
    const std::string number = tokens_.take().text;
    return [value, number](Scope& s) { return subscript(value(s), Value(std::int64_t{std::atoi(number.c_str())})); };
  }
  const std::string key = tokens_.name();
  if (!tokens_.take_op("(")) return [value, key](Scope& s) { return subscript(value(s), Value(key)); };
  return [value, key, call = call_arguments()](Scope& s) {
    const Value object = value(s);
    const Value own = object.member(key);
    if (own.function() != nullptr) return (*own.function())(call.evaluate(s));
    return call_method(object, key, call.evaluate(s));
  };
}

Expression ExpressionParser::index(Expression value) {
  Expression none = [](Scope&) { return Value(); };
  std::array<Expression, 3> parts = {none, none, none};
  std::size_t part = 0;
  bool is_slice = false;
  while (!tokens_.is_op("]")) {
    if (tokens_.take_op(":")) {
      is_slice = true;
      if (++part > 2) fail("has a slice of four parts");
    } else {
      parts[part] = condition();
      if (!tokens_.is_op(":") && !tokens_.is_op("]")) fail(fmt::format("has `{}` in a subscript", tokens_.peek().text));
    }
  }
  tokens_.expect_op("]");
  if (!is_slice) return [value, at = parts[0]](Scope& s) { return subscript(value(s), at(s)); };
  return [value, parts](Scope& s) { return slice(value(s), parts[0](s), parts[1](s), parts[2](s)); };
}

Expression ExpressionParser::filters(Expression value) {
  for (;;) {
    link();
    if (tokens_.take_op("|")) {
      const std::string filter = tokens_.name();
      CallSyntax call;
      if (tokens_.take_op("(")) call = call_arguments();
      value = [value, filter, call](Scope& s) { return apply_filter(filter, value(s), call.evaluate(s)); };
    } else if (tokens_.take_name("is")) {
      value = test(std::move(value));
    } else {
      return value;
    }
  }
}

Expression ExpressionParser::test(Expression value) {
  const bool negated = tokens_.take_name("not");
  const std::string test = tokens_.name();
  CallSyntax call;
  if (tokens_.take_op("(")) {
    call = call_arguments();
  } else if (takes_argument()) {
    call.positional.push_back(postfix(primary()));  // `x is divisibleby 3`
  }
  return
      [value, test, negated, call](Scope& s) { return Value(apply_test(test, value(s), call.evaluate(s)) != negated); };
}

bool ExpressionParser::takes_argument() const {
  const Token& token = tokens_.peek();
  if (token.kind == Token::Kind::string || token.kind == Token::Kind::number) return true;
  return token.kind == Token::Kind::name && token.text != "and" && token.text != "or" && token.text != "else" &&
         token.text != "if" && token.text != "is" && token.text != "in" && token.text != "not";
}

}  // namespace dstrain::jinja
