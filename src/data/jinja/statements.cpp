// SPDX-License-Identifier: Apache-2.0
/// Statements of Jinja: for, if, set, macro, and the tags that transformers adds (generation, break, continue).
#include <memory>

#include "core/error.hpp"
#include "data/jinja/program.hpp"

namespace dstrain::jinja {
namespace {

constexpr int max_nested_statements = 100;

Flow run_all(const std::vector<Statement>& statements, Scope& scope, std::string& out) {
  for (const auto& statement : statements) {
    scope.step();
    if (const Flow flow = statement(scope, out); flow != Flow::go_on) return flow;
  }
  return Flow::go_on;
}

/// What a loop's body sees as `loop`.
Value loop_variable(const List& items, std::size_t i) {
  const auto number = [](std::size_t n) { return Value(static_cast<std::int64_t>(n)); };
  const std::size_t count = items.size();
  return Dict{{"index", number(i + 1)},
              {"index0", number(i)},
              {"revindex", number(count - i)},
              {"revindex0", number(count - i - 1)},
              {"first", Value(i == 0)},
              {"last", Value(i + 1 == count)},
              {"length", number(count)},
              {"previtem", i > 0 ? items[i - 1] : Value()},
              {"nextitem", i + 1 < count ? items[i + 1] : Value()}};
}

class Parser {
 public:
  explicit Parser(const std::vector<Token>& tokens) : tokens_(tokens) {}

  Statement run() {
    auto body = statements({});
    return [body = std::move(body)](Scope& s, std::string& out) { return run_all(body, s, out); };
  }

 private:
  void end_of_block() {
    if (tokens_.peek().kind != Token::Kind::block_end)
      fail(fmt::format("has `{}` at the end of a tag", tokens_.peek().text));
    tokens_.skip();
  }
  [[nodiscard]] bool at_tag(const std::vector<std::string_view>& names) const {
    if (tokens_.peek().kind != Token::Kind::block_begin) return false;
    const Token& tag = tokens_.after();
    for (const auto candidate : names) {
      if (tag.kind == Token::Kind::name && tag.text == candidate) return true;
    }
    return false;
  }

  /// Statements up to one of the tags `ends` (which stays), or to the end of the template where there is none.
  std::vector<Statement> statements(const std::vector<std::string_view>& ends) {
    if (++depth_ > max_nested_statements) fail("is nested too deeply");
    std::vector<Statement> out;
    while (!at_tag(ends)) {
      if (tokens_.peek().kind == Token::Kind::end) {
        if (!ends.empty()) fail(fmt::format("lacks an `{}`", ends.back()));
        break;
      }
      out.push_back(statement());
    }
    --depth_;
    return out;
  }

  /// Past the tag that ended a list of statements: its name.
  std::string end_tag() {
    tokens_.skip();
    return tokens_.name();
  }

  Statement statement() {
    const Token token = tokens_.take();
    if (token.kind == Token::Kind::text) {
      return [text = token.text](Scope&, std::string& out) {
        charge(text.size());
        out += text;
        return Flow::go_on;
      };
    }
    if (token.kind == Token::Kind::output_begin) {
      auto value = parse_expression(tokens_);
      if (tokens_.peek().kind != Token::Kind::output_end)
        fail(fmt::format("has `{}` at the end of an output", tokens_.peek().text));
      tokens_.skip();
      return [value](Scope& s, std::string& out) {
        const std::string text = value(s).text();
        charge(text.size());
        out += text;
        return Flow::go_on;
      };
    }
    return block(tokens_.name());
  }

  Statement block(const std::string& tag) {
    if (tag == "if") return condition();
    if (tag == "for") return loop();
    if (tag == "set") return set();
    if (tag == "macro") return macro();
    if (tag == "generation") return generation();
    if (tag == "break" || tag == "continue") {
      end_of_block();
      return [flow = tag == "break" ? Flow::leave_loop : Flow::next_item](Scope&, std::string&) { return flow; };
    }
    fail(fmt::format("uses the tag `{}`, which is not supported", tag));
  }

  Statement condition() {
    std::vector<std::pair<Expression, std::vector<Statement>>> branches;
    std::vector<Statement> otherwise;
    Expression when = parse_expression(tokens_);
    for (;;) {
      end_of_block();
      auto body = statements({"elif", "else", "endif"});
      branches.emplace_back(when, std::move(body));
      const std::string tag = end_tag();
      if (tag == "elif") {
        when = parse_expression(tokens_);
        continue;
      }
      if (tag == "else") {
        end_of_block();
        otherwise = statements({"endif"});
        end_tag();
      }
      end_of_block();
      break;
    }
    return [branches, otherwise](Scope& s, std::string& out) {
      for (const auto& [test, body] : branches) {
        if (test(s).truthy()) return run_all(body, s, out);
      }
      return run_all(otherwise, s, out);
    };
  }

  std::vector<std::string> target() {
    const bool brackets = tokens_.take_op("(");
    std::vector<std::string> names = {tokens_.name()};
    while (tokens_.take_op(",")) names.push_back(tokens_.name());
    if (brackets && !tokens_.take_op(")")) fail("has a target without closing bracket");
    return names;
  }

  Statement loop() {
    auto names = target();
    if (!tokens_.take_name("in")) fail("has a loop without `in`");
    auto over = parse_without_condition(tokens_);
    Expression filter = [](Scope&) { return Value(true); };
    if (tokens_.take_name("if")) filter = parse_expression(tokens_);
    end_of_block();
    auto body = statements({"else", "endfor"});
    std::vector<Statement> otherwise;
    if (end_tag() == "else") {
      end_of_block();
      otherwise = statements({"endfor"});
      end_tag();
    }
    end_of_block();
    return [=](Scope& around, std::string& out) {
      List items;
      for (const Value& item : items_of(over(around))) {
        Scope scope(&around);
        assign(scope, names, item);
        if (filter(scope).truthy()) items.push_back(item);
      }
      if (items.empty()) return run_all(otherwise, around, out);
      for (std::size_t i = 0; i < items.size(); ++i) {
        Scope scope(&around);
        assign(scope, names, items[i]);
        scope.set("loop", loop_variable(items, i));
        if (run_all(body, scope, out) == Flow::leave_loop) break;
      }
      return Flow::go_on;
    };
  }

  Statement set() {
    auto names = target();
    std::string attribute;
    if (tokens_.take_op(".")) attribute = tokens_.name();
    if (tokens_.take_op("=")) {
      auto value = tuple();
      end_of_block();
      return [=](Scope& s, std::string&) {
        assign_member(s, names, attribute, value(s));
        return Flow::go_on;
      };
    }
    end_of_block();
    auto body = statements({"endset"});
    end_tag();
    end_of_block();
    return [=](Scope& s, std::string&) {
      std::string text;
      run_all(body, s, text);
      assign_member(s, names, attribute, Value(std::move(text)));
      return Flow::go_on;
    };
  }

  /// One value, or several with commas: a tuple.
  Expression tuple() {
    std::vector<Expression> items = {parse_expression(tokens_)};
    while (tokens_.take_op(",")) items.push_back(parse_expression(tokens_));
    if (items.size() == 1) return items.front();
    return [items](Scope& s) {
      List out;
      for (const auto& item : items) out.push_back(item(s));
      return Value(std::move(out));
    };
  }

  Statement macro() {
    const std::string macro_name = tokens_.name();
    if (!tokens_.take_op("(")) fail("has a macro without arguments");
    std::vector<std::pair<std::string, Expression>> parameters;
    while (!tokens_.take_op(")")) {
      std::string parameter = tokens_.name();
      Expression fallback = [](Scope&) { return Value(); };
      if (tokens_.take_op("=")) fallback = parse_expression(tokens_);
      parameters.emplace_back(std::move(parameter), std::move(fallback));
      tokens_.take_op(",");
      if (tokens_.peek().kind == Token::Kind::block_end) fail("has a macro without closing bracket");
    }
    end_of_block();
    auto body = std::make_shared<const std::vector<Statement>>(statements({"endmacro"}));
    end_tag();
    end_of_block();
    return [=](Scope& around, std::string&) {
      // A macro sees the variables of the whole template: that scope lives as long as any value that holds the macro.
      Scope& outermost = around.outermost();
      around.set(macro_name, Value(Function([=, &outermost](const Arguments& arguments) {
                   Scope scope(&outermost);
                   for (std::size_t i = 0; i < parameters.size(); ++i) {
                     const Value* given = arguments.find(i, parameters[i].first);
                     scope.set(parameters[i].first, given != nullptr ? *given : parameters[i].second(scope));
                   }
                   std::string text;
                   Recursion recursion;
                   run_all(*body, scope, text);
                   return Value(std::move(text));
                 })));
      return Flow::go_on;
    };
  }

  /// Macros may call themselves: not for ever.
  struct Recursion {
    Recursion() {
      if (++depth > max_nested_statements) {
        --depth;
        fail("calls its macros without end");
      }
    }
    Recursion(const Recursion&) = delete;
    Recursion& operator=(const Recursion&) = delete;
    ~Recursion() { --depth; }
    static inline thread_local int depth = 0;
  };

  Statement generation() {
    end_of_block();
    auto body = statements({"endgeneration"});
    end_tag();
    end_of_block();
    return [body = std::move(body)](Scope& s, std::string& out) { return run_all(body, s, out); };
  }

  TokenCursor tokens_;
  int depth_ = 0;
};

}  // namespace

Statement parse_template(const std::vector<Token>& tokens) { return Parser(tokens).run(); }

}  // namespace dstrain::jinja
