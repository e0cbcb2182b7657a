// SPDX-License-Identifier: Apache-2.0
/// Expressions of Jinja: precedence as in its grammar.
#include <array>
#include <charconv>
#include <cstdlib>

#include "core/error.hpp"
#include "data/jinja/program.hpp"

namespace dstrain::jinja {
namespace {

constexpr int max_depth = 200;
/// Operators, filters and members that hang together: each runs inside the next.
constexpr int max_links = 1000;

struct CallSyntax {
  std::vector<Expression> positional;
  std::vector<std::pair<std::string, Expression>> named;

  [[nodiscard]] Arguments evaluate(Scope& scope) const {
    Arguments arguments;
    for (const auto& expression : positional) arguments.positional.push_back(expression(scope));
    for (const auto& [name, expression] : named) arguments.named.emplace_back(name, expression(scope));
    return arguments;
  }
};

class Parser {
 public:
  Parser(const std::vector<Token>& tokens, std::size_t& at) : tokens_(tokens), at_(at) {}

  Expression condition() {
    Deeper deeper(depth_);
    Expression value = disjunction();
    while (take_name("if")) {
      link();
      Expression when = disjunction();
      Expression otherwise = [](Scope&) { return Value(); };
      if (take_name("else")) otherwise = condition();
      value = [value, when, otherwise](Scope& s) { return when(s).truthy() ? value(s) : otherwise(s); };
    }
    return value;
  }

  Expression disjunction() {
    Expression left = conjunction();
    while (take_name("or")) {
      link();
      left = [left, right = conjunction()](Scope& s) {
        Value value = left(s);
        return value.truthy() ? value : right(s);
      };
    }
    return left;
  }

 private:
  struct Deeper {
    explicit Deeper(int& depth) : depth_(depth) {
      if (++depth_ > max_depth) fail("is nested too deeply");
    }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    ~Deeper() { --depth_; }
    int& depth_;
  };

  [[nodiscard]] const Token& peek() const { return tokens_[at_]; }
  [[nodiscard]] bool is_op(std::string_view text) const {
    return peek().kind == Token::Kind::op && peek().text == text;
  }
  [[nodiscard]] bool is_name(std::string_view text) const {
    return peek().kind == Token::Kind::name && peek().text == text;
  }
  bool take_op(std::string_view text) {
    if (!is_op(text)) return false;
    ++at_;
    return true;
  }
  bool take_name(std::string_view text) {
    if (!is_name(text)) return false;
    ++at_;
    return true;
  }
  void expect(std::string_view text) {
    if (!take_op(text)) fail(fmt::format("lacks a `{}` before `{}`", text, peek().text));
  }
  std::string name() {
    if (peek().kind != Token::Kind::name) fail(fmt::format("has `{}` where a name belongs", peek().text));
    return tokens_[at_++].text;
  }

  Expression conjunction() {
    Expression left = negation();
    while (take_name("and")) {
      link();
      left = [left, right = negation()](Scope& s) {
        Value value = left(s);
        return value.truthy() ? right(s) : value;
      };
    }
    return left;
  }

  Expression negation() {
    if (!take_name("not")) return comparison();
    Deeper deeper(depth_);
    return [inner = negation()](Scope& s) { return Value(!inner(s).truthy()); };
  }

  /// Chains as in Python: a < b < c.
  Expression comparison() {
    Expression first = sum();
    std::vector<std::pair<std::string, Expression>> rest;
    for (;;) {
      std::string op;
      constexpr std::array<std::string_view, 6> ops = {"==", "!=", "<", "<=", ">", ">="};
      for (const auto candidate : ops) {
        if (op.empty() && take_op(candidate)) op = candidate;
      }
      if (op.empty() && take_name("in")) op = "in";
      if (op.empty() && is_name("not") && tokens_[at_ + 1].kind == Token::Kind::name && tokens_[at_ + 1].text == "in") {
        at_ += 2;
        op = "not in";
      }
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

  template <std::size_t N>
  Expression binary(const std::array<std::string_view, N>& ops, Expression (Parser::*operand)()) {
    Expression left = (this->*operand)();
    for (;;) {
      std::string op;
      for (const auto candidate : ops) {
        if (op.empty() && take_op(candidate)) op = candidate;
      }
      if (op.empty()) return left;
      link();
      left = [op, left, right = (this->*operand)()](Scope& s) {
        const Value a = left(s);
        return arithmetic(op, a, right(s));
      };
    }
  }
  Expression sum() { return binary<2>({"+", "-"}, &Parser::concatenation); }
  Expression concatenation() { return binary<1>({"~"}, &Parser::product); }
  Expression product() { return binary<4>({"*", "/", "//", "%"}, &Parser::power); }
  Expression power() { return binary<1>({"**"}, &Parser::sign); }

  Expression sign() {
    Deeper deeper(depth_);
    if (take_op("-")) return [inner = sign()](Scope& s) { return arithmetic("*", Value(std::int64_t{-1}), inner(s)); };
    if (take_op("+")) return sign();
    return filters(postfix(primary()));
  }

  Expression primary() {
    const Token token = peek();
    ++at_;
    switch (token.kind) {
      case Token::Kind::string: {
        std::string text = token.text;
        while (peek().kind == Token::Kind::string) text += tokens_[at_++].text;  // "a" "b" is one text
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

  static Expression number(const std::string& text) {
    if (text.find_first_of(".eE") != std::string::npos)
      return [value = Value(std::strtod(text.c_str(), nullptr))](Scope&) { return value; };
    std::int64_t whole = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), whole).ec != std::errc{})
      fail(fmt::format("has the number {}, which is too large", text));
    return [value = Value(whole)](Scope&) { return value; };
  }

  static Expression variable(const std::string& name) {
    if (name == "true" || name == "True") return [](Scope&) { return Value(true); };
    if (name == "false" || name == "False") return [](Scope&) { return Value(false); };
    if (name == "none" || name == "None") return [](Scope&) { return Value(None{}); };
    return [name](Scope& s) { return s.get(name); };
  }

  /// A value in brackets, or a tuple, which is a list here.
  Expression parenthesis() {
    if (take_op(")")) return [](Scope&) { return Value(List{}); };
    Expression first = condition();
    if (!is_op(",")) {
      expect(")");
      return first;
    }
    std::vector<Expression> items = {first};
    while (take_op(",") && !is_op(")")) items.push_back(condition());
    expect(")");
    return list_of(std::move(items));
  }

  Expression list() {
    std::vector<Expression> items;
    while (!is_op("]")) {
      items.push_back(condition());
      if (!take_op(",")) break;
    }
    expect("]");
    return list_of(std::move(items));
  }

  static Expression list_of(std::vector<Expression> items) {
    return [items = std::move(items)](Scope& s) {
      List out;
      for (const auto& item : items) out.push_back(item(s));
      return Value(std::move(out));
    };
  }

  Expression dict() {
    std::vector<std::pair<Expression, Expression>> entries;
    while (!is_op("}")) {
      Expression key = condition();
      expect(":");
      entries.emplace_back(std::move(key), condition());
      if (!take_op(",")) break;
    }
    expect("}");
    return [entries](Scope& s) {
      Dict out;
      for (const auto& [key, value] : entries) out.emplace_back(key(s).text(), value(s));
      return Value(std::move(out));
    };
  }

  CallSyntax call_arguments() {
    CallSyntax call;
    while (!is_op(")")) {
      if (peek().kind == Token::Kind::name && tokens_[at_ + 1].kind == Token::Kind::op &&
          tokens_[at_ + 1].text == "=") {
        std::string key = name();
        ++at_;
        call.named.emplace_back(std::move(key), condition());
      } else {
        call.positional.push_back(condition());
      }
      if (!take_op(",")) break;
    }
    expect(")");
    return call;
  }

  Expression postfix(Expression value) {
    for (;;) {
      link();
      if (take_op(".")) {
        value = member(std::move(value));
      } else if (take_op("[")) {
        value = index(std::move(value));
      } else if (take_op("(")) {
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
  Expression member(Expression value) {
    if (peek().kind == Token::Kind::number) {
      const std::string number = tokens_[at_++].text;
      return [value, number](Scope& s) { return subscript(value(s), Value(std::int64_t{std::atoi(number.c_str())})); };
    }
    const std::string key = name();
    if (!take_op("(")) return [value, key](Scope& s) { return subscript(value(s), Value(key)); };
    return [value, key, call = call_arguments()](Scope& s) {
      const Value object = value(s);
      const Value own = object.member(key);
      if (own.function() != nullptr) return (*own.function())(call.evaluate(s));
      return call_method(object, key, call.evaluate(s));
    };
  }

  Expression index(Expression value) {
    Expression none = [](Scope&) { return Value(); };
    std::array<Expression, 3> parts = {none, none, none};
    std::size_t part = 0;
    bool is_slice = false;
    while (!is_op("]")) {
      if (take_op(":")) {
        is_slice = true;
        if (++part > 2) fail("has a slice of four parts");
      } else {
        parts[part] = condition();
        if (!is_op(":") && !is_op("]")) fail(fmt::format("has `{}` in a subscript", peek().text));
      }
    }
    expect("]");
    if (!is_slice) return [value, at = parts[0]](Scope& s) { return subscript(value(s), at(s)); };
    return [value, parts](Scope& s) { return slice(value(s), parts[0](s), parts[1](s), parts[2](s)); };
  }

  Expression filters(Expression value) {
    for (;;) {
      link();
      if (take_op("|")) {
        const std::string filter = name();
        CallSyntax call;
        if (take_op("(")) call = call_arguments();
        value = [value, filter, call](Scope& s) { return apply_filter(filter, value(s), call.evaluate(s)); };
      } else if (take_name("is")) {
        value = test(std::move(value));
      } else {
        return value;
      }
    }
  }

  Expression test(Expression value) {
    const bool negated = take_name("not");
    const std::string test = name();
    CallSyntax call;
    if (take_op("(")) {
      call = call_arguments();
    } else if (takes_argument()) {
      call.positional.push_back(postfix(primary()));  // `x is divisibleby 3`
    }
    return [value, test, negated, call](Scope& s) {
      return Value(apply_test(test, value(s), call.evaluate(s)) != negated);
    };
  }

  [[nodiscard]] bool takes_argument() const {
    const Token& token = peek();
    if (token.kind == Token::Kind::string || token.kind == Token::Kind::number) return true;
    return token.kind == Token::Kind::name && token.text != "and" && token.text != "or" && token.text != "else" &&
           token.text != "if" && token.text != "is" && token.text != "in" && token.text != "not";
  }

  void link() {
    if (++links_ > max_links) fail("has an expression that is too long");
  }

  const std::vector<Token>& tokens_;
  std::size_t& at_;
  int depth_ = 0;
  int links_ = 0;
};

}  // namespace

Expression parse_expression(const std::vector<Token>& tokens, std::size_t& at) {
  return Parser(tokens, at).condition();
}

Expression parse_without_condition(const std::vector<Token>& tokens, std::size_t& at) {
  return Parser(tokens, at).disjunction();
}

}  // namespace dstrain::jinja
