// SPDX-License-Identifier: Apache-2.0
/// A parsed Jinja template: closures that are run against a scope.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "data/jinja/token_cursor.hpp"
#include "data/jinja/value.hpp"

namespace dstrain::jinja {

/// Variables of a block and those around it, and what a run may cost.
class Scope {
 public:
  explicit Scope(Scope* around) : around_(around) {}

  [[nodiscard]] Value get(const std::string& name) const;
  void set(const std::string& name, Value value) { variables_[name] = std::move(value); }
  /// The scope of the whole template.
  [[nodiscard]] Scope& outermost() { return around_ == nullptr ? *this : around_->outermost(); }
  /// Counts one step of work. @throws ConfigError  the template runs for too long
  void step();

 private:
  Scope* around_;
  std::map<std::string, Value> variables_;
  std::int64_t steps_ = 0;  ///< of the outermost scope
};

using Expression = std::function<Value(Scope&)>;

/// How a statement ends: a loop looks at it.
enum class Flow : std::uint8_t { go_on, next_item, leave_loop };
using Statement = std::function<Flow(Scope&, std::string& out)>;

/// The expression that `tokens` stand at; they move behind it.
/// @throws ConfigError  there is none
Expression parse_expression(TokenCursor& tokens);
/// The same without `a if b else c` at its top: what a loop runs over.
Expression parse_without_condition(TokenCursor& tokens);

/// A whole template.
/// @throws ConfigError  syntax that chat templates do not use or that is wrong
Statement parse_template(const std::vector<Token>& tokens);

/// Gives `names` the value; several take the parts of a list. @throws ConfigError  other numbers of names and parts
void assign(Scope& scope, const std::vector<std::string>& names, const Value& value);
/// The same for the member `attribute` of a variable, where it is not empty.
void assign_member(Scope& scope, const std::vector<std::string>& names, const std::string& attribute, Value value);

// --- what expressions call (operators.cpp, builtins.cpp, methods.cpp) ---

/// + - * / // % ** ~
Value arithmetic(const std::string& op, const Value& a, const Value& b);
/// == != < <= > >=
bool compare(const std::string& op, const Value& a, const Value& b);
/// `item in container`
bool contains(const Value& container, const Value& item);
Value apply_filter(const std::string& name, const Value& value, const Arguments& arguments);
bool apply_test(const std::string& name, const Value& value, const Arguments& arguments);
/// value.name(arguments): methods of Python's str, dict and list.
Value call_method(const Value& value, const std::string& name, const Arguments& arguments);
/// value[index], value.name.
Value subscript(const Value& value, const Value& index);
/// value[from:to:step]; undefined bounds are left out.
Value slice(const Value& value, const Value& from, const Value& to, const Value& step);
/// range, namespace, dict, raise_exception, strftime_now.
void define_globals(Scope& scope);

}  // namespace dstrain::jinja
