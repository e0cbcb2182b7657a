// SPDX-License-Identifier: Apache-2.0
/// Values of a Jinja template.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "data/tools/python_json.hpp"

namespace dstrain::jinja {

class Value;
using List = std::vector<Value>;
/// In the order of its keys' insertion, as Python's.
using Dict = std::vector<std::pair<std::string, Value>>;

/// Arguments of a call.
struct Arguments {
  std::vector<Value> positional;
  Dict named;

  /// Argument number `i`, or the one of that name; none where neither is given.
  [[nodiscard]] const Value* find(std::size_t i, std::string_view name) const;
};

using Function = std::function<Value(const Arguments&)>;

struct Undefined {};
struct None {};

/// A value. Texts, lists, dicts and functions are shared, as Python's references; making one is charged.
class Value {
 public:
  Value() = default;                   ///< undefined
  Value(None none) : data_(none) {}    // NOLINT: what these values are made of
  Value(bool b) : data_(b) {}          // NOLINT
  Value(std::int64_t i) : data_(i) {}  // NOLINT
  Value(double d) : data_(d) {}        // NOLINT
  Value(std::string s);                // NOLINT
  Value(const char* s);                // NOLINT
  Value(List list);                    // NOLINT
  Value(Dict dict);                    // NOLINT
  Value(Function f);                   // NOLINT

  [[nodiscard]] bool is_undefined() const { return holds<Undefined>(); }
  [[nodiscard]] bool is_none() const { return holds<None>(); }
  [[nodiscard]] bool is_bool() const { return holds<bool>(); }
  [[nodiscard]] const std::int64_t* integer() const { return std::get_if<std::int64_t>(&data_); }
  [[nodiscard]] const std::string* string() const { return shared<const std::string>(); }
  [[nodiscard]] List* list() const { return shared<List>(); }
  [[nodiscard]] Dict* dict() const { return shared<Dict>(); }
  [[nodiscard]] const Function* function() const { return shared<Function>(); }
  /// The value as a number: integers, floats, and booleans as 0 and 1.
  [[nodiscard]] std::optional<double> number() const;

  /// What `if` takes it for.
  [[nodiscard]] bool truthy() const;
  /// str(); an undefined value is empty.
  [[nodiscard]] std::string text() const;
  /// As JSON has it. @throws ConfigError  functions, undefined values, a value that holds itself
  [[nodiscard]] python::Value to_python(int depth = 0) const;
  /// Name of its type, for messages.
  [[nodiscard]] const char* type() const;

  /// Member of a dict; undefined where there is none.
  [[nodiscard]] Value member(std::string_view key) const;
  /// Python's ==.
  [[nodiscard]] bool equals(const Value& other, int depth = 0) const;

 private:
  template <typename T>
  [[nodiscard]] bool holds() const {
    return std::holds_alternative<T>(data_);
  }
  template <typename T>
  [[nodiscard]] T* shared() const {
    const auto* pointer = std::get_if<std::shared_ptr<T>>(&data_);
    return pointer == nullptr ? nullptr : pointer->get();
  }

  std::variant<Undefined, None, bool, std::int64_t, double, std::shared_ptr<const std::string>, std::shared_ptr<List>,
               std::shared_ptr<Dict>, std::shared_ptr<Function>>
      data_;
};

/// @throws ConfigError  "the chat template ...": `problem`
[[noreturn]] void fail(const std::string& problem);

/// Work and memory of one rendering, in bytes made or looked at. A chat template comes from anywhere: what it may cost
/// is bounded. @throws ConfigError  the budget is spent
void charge(std::size_t bytes);
/// A new budget, for a new rendering in this thread.
void reset_budget();

/// The items that a loop sees: of a list, the keys of a dict, the characters of a string.
/// @throws ConfigError  it has none
List items_of(const Value& value);

/// The characters (code points) of a text.
std::vector<std::string> characters(std::string_view text);

}  // namespace dstrain::jinja
