// SPDX-License-Identifier: Apache-2.0
/// Filters, tests and global functions of Jinja, as far as chat templates use them.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <ctime>
#include <map>

#include "core/error.hpp"
#include "data/jinja/program.hpp"

namespace dstrain::jinja {
namespace {

std::string text_of(const Arguments& arguments, std::size_t i, std::string_view name, std::string_view fallback) {
  const Value* given = arguments.find(i, name);
  return given == nullptr ? std::string(fallback) : given->text();
}

/// Letters of ASCII: names of roles and fields.
std::string changed_case(std::string text, bool first_upper, bool rest_upper, bool each_word) {
  bool at_start = true;
  for (char& c : text) {
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool upper = at_start ? first_upper : rest_upper;
    if (is_letter) c = static_cast<char>(upper ? c & ~0x20 : c | 0x20);
    at_start = each_word && !is_letter;
  }
  return text;
}

std::int64_t length(const Value& value) {
  if (const auto* text = value.string()) return static_cast<std::int64_t>(characters(*text).size());
  if (const auto* dict = value.dict()) return static_cast<std::int64_t>(dict->size());
  if (value.list() == nullptr && !value.is_undefined()) fail(fmt::format("measures {}", value.type()));
  return static_cast<std::int64_t>(items_of(value).size());
}

std::string joined(const Value& value, const Arguments& arguments) {
  const std::string separator = text_of(arguments, 0, "d", "");
  const Value* attribute = arguments.find(1, "attribute");
  std::string out;
  bool first = true;
  for (const Value& item : items_of(value)) {
    if (!first) out += separator;
    first = false;
    const std::string part = (attribute == nullptr ? item : subscript(item, *attribute)).text();
    charge(part.size() + separator.size());
    out += part;
  }
  return out;
}

Value to_json(const Value& value, const Arguments& arguments) {
  const Value* indent = arguments.find(std::string::npos, "indent");
  const bool indented = indent != nullptr && indent->integer() != nullptr && *indent->integer() > 0;
  if (indented && *indent->integer() > 64) fail("indents JSON by more than 64");
  return python::dump_json(value.to_python(), indented ? static_cast<int>(*indent->integer()) : 0);
}

Arguments without_first(const Arguments& arguments, std::size_t count) {
  Arguments rest;
  rest.named = arguments.named;
  for (std::size_t i = count; i < arguments.positional.size(); ++i) rest.positional.push_back(arguments.positional[i]);
  return rest;
}

Value mapped(const Value& value, const Arguments& arguments) {
  const Value* attribute = arguments.find(std::string::npos, "attribute");
  const std::string filter = attribute == nullptr ? text_of(arguments, 0, "", "") : "";
  List out;
  for (const Value& item : items_of(value)) {
    out.push_back(attribute != nullptr ? subscript(item, *attribute)
                                       : apply_filter(filter, item, without_first(arguments, 1)));
  }
  return out;
}

/// select, reject, selectattr, rejectattr.
Value selected(const Value& value, const Arguments& arguments, bool by_attribute, bool keep) {
  const std::size_t at = by_attribute ? 1 : 0;
  const Value* test = arguments.find(at, "");
  List out;
  for (const Value& item : items_of(value)) {
    const Value subject = by_attribute ? subscript(item, Value(text_of(arguments, 0, "", ""))) : item;
    const bool passes =
        test == nullptr ? subject.truthy() : apply_test(test->text(), subject, without_first(arguments, at + 1));
    if (passes == keep) out.push_back(item);
  }
  return out;
}

Value pairs_of(const Value& value) {
  if (value.is_undefined()) return List{};
  if (value.dict() == nullptr) fail(fmt::format("takes the items of {}", value.type()));
  List out;
  for (const auto& [key, member] : *value.dict()) out.emplace_back(List{Value(key), member});
  return out;
}

Value sorted_pairs(const Value& value) {
  if (value.dict() == nullptr) fail(fmt::format("sorts {}", value.type()));
  Dict sorted = *value.dict();
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return pairs_of(Value(std::move(sorted)));
}

Value first_or_last(const Value& value, bool last) {
  const List items = items_of(value);
  if (items.empty()) return {};
  return last ? items.back() : items.front();
}

Value reversed(const Value& value) {
  List items = items_of(value);
  std::reverse(items.begin(), items.end());
  if (value.string() == nullptr) return items;
  std::string out;
  for (const Value& c : items) out += c.text();
  return out;
}

std::string indented(const std::string& text, const Arguments& arguments) {
  const Value* width = arguments.find(0, "width");
  const std::int64_t blanks = width != nullptr && width->integer() != nullptr ? *width->integer() : 4;
  if (blanks < 0 || blanks > 256) fail("indents by more than 256");
  const Value* first = arguments.find(1, "first");
  std::string out = first != nullptr && first->truthy() ? std::string(static_cast<std::size_t>(blanks), ' ') : "";
  for (std::size_t i = 0; i < text.size(); ++i) {
    out += text[i];
    if (text[i] == '\n') charge(static_cast<std::size_t>(blanks));
    if (text[i] == '\n' && i + 1 < text.size() && text[i + 1] != '\n')
      out.append(static_cast<std::size_t>(blanks), ' ');
  }
  return out;
}

Value default_of(const Value& value, const Arguments& arguments) {
  const Value* also_false = arguments.find(1, "boolean");
  const bool replace = value.is_undefined() || (also_false != nullptr && also_false->truthy() && !value.truthy());
  const Value* fallback = arguments.find(0, "default_value");
  return replace ? (fallback != nullptr ? *fallback : Value("")) : value;
}

Value to_integer(const Value& value) {
  if (const auto n = value.number()) {
    if (*n > 9e18 || *n < -9e18) fail("makes an integer of a number that is too large");
    return static_cast<std::int64_t>(*n);
  }
  const auto parsed = value.string() != nullptr ? python::parse_json(*value.string()) : std::nullopt;
  if (!parsed || !parsed->is(python::Value::Kind::integer) || parsed->text.size() > 18) return std::int64_t{0};
  return static_cast<std::int64_t>(std::stoll(parsed->text));
}

using Filter = Value (*)(const Value&, const Arguments&);

const std::map<std::string, Filter, std::less<>>& filters() {
  static const std::map<std::string, Filter, std::less<>> table = {
      {"trim", [](const Value& v, const Arguments& a) { return call_method(Value(v.text()), "strip", a); }},
      {"tojson", to_json},
      {"length", [](const Value& v, const Arguments&) { return Value(length(v)); }},
      {"count", [](const Value& v, const Arguments&) { return Value(length(v)); }},
      {"list", [](const Value& v, const Arguments&) { return Value(items_of(v)); }},
      {"default", default_of},
      {"d", default_of},
      {"join", [](const Value& v, const Arguments& a) { return Value(joined(v, a)); }},
      {"map", mapped},
      {"select", [](const Value& v, const Arguments& a) { return selected(v, a, false, true); }},
      {"reject", [](const Value& v, const Arguments& a) { return selected(v, a, false, false); }},
      {"selectattr", [](const Value& v, const Arguments& a) { return selected(v, a, true, true); }},
      {"rejectattr", [](const Value& v, const Arguments& a) { return selected(v, a, true, false); }},
      {"items", [](const Value& v, const Arguments&) { return pairs_of(v); }},
      {"dictsort", [](const Value& v, const Arguments&) { return sorted_pairs(v); }},
      {"first", [](const Value& v, const Arguments&) { return first_or_last(v, false); }},
      {"last", [](const Value& v, const Arguments&) { return first_or_last(v, true); }},
      {"reverse", [](const Value& v, const Arguments&) { return reversed(v); }},
      {"upper", [](const Value& v, const Arguments&) { return Value(changed_case(v.text(), true, true, false)); }},
      {"lower", [](const Value& v, const Arguments&) { return Value(changed_case(v.text(), false, false, false)); }},
      {"title", [](const Value& v, const Arguments&) { return Value(changed_case(v.text(), true, false, true)); }},
      {"capitalize",
       [](const Value& v, const Arguments&) { return Value(changed_case(v.text(), true, false, false)); }},
      {"replace", [](const Value& v, const Arguments& a) { return call_method(Value(v.text()), "replace", a); }},
      {"string", [](const Value& v, const Arguments&) { return Value(v.text()); }},
      {"safe", [](const Value& v, const Arguments&) { return v; }},
      {"int", [](const Value& v, const Arguments&) { return to_integer(v); }},
      {"indent", [](const Value& v, const Arguments& a) { return Value(indented(v.text(), a)); }}};
  return table;
}

using Test = bool (*)(const Value&, const Arguments&);

bool is_integer(const Value& v) { return v.integer() != nullptr; }

const std::map<std::string, Test, std::less<>>& tests() {
  static const std::map<std::string, Test, std::less<>> table = {
      {"defined", [](const Value& v, const Arguments&) { return !v.is_undefined(); }},
      {"undefined", [](const Value& v, const Arguments&) { return v.is_undefined(); }},
      {"none", [](const Value& v, const Arguments&) { return v.is_none(); }},
      {"boolean", [](const Value& v, const Arguments&) { return v.is_bool(); }},
      {"true", [](const Value& v, const Arguments&) { return v.is_bool() && v.truthy(); }},
      {"false", [](const Value& v, const Arguments&) { return v.is_bool() && !v.truthy(); }},
      {"string", [](const Value& v, const Arguments&) { return v.string() != nullptr; }},
      {"mapping", [](const Value& v, const Arguments&) { return v.dict() != nullptr; }},
      {"iterable",
       [](const Value& v, const Arguments&) {
         return v.string() != nullptr || v.list() != nullptr || v.dict() != nullptr || v.is_undefined();
       }},
      {"sequence",
       [](const Value& v, const Arguments&) {
         return v.string() != nullptr || v.list() != nullptr || v.dict() != nullptr || v.is_undefined();
       }},
      {"number", [](const Value& v, const Arguments&) { return v.number().has_value(); }},
      {"integer", [](const Value& v, const Arguments&) { return is_integer(v); }},
      {"float", [](const Value& v, const Arguments&) { return v.number() && !is_integer(v) && !v.is_bool(); }},
      {"callable", [](const Value& v, const Arguments&) { return v.function() != nullptr; }},
      {"odd", [](const Value& v, const Arguments&) { return is_integer(v) && *v.integer() % 2 != 0; }},
      {"even", [](const Value& v, const Arguments&) { return is_integer(v) && *v.integer() % 2 == 0; }},
      {"equalto",
       [](const Value& v, const Arguments& a) { return a.find(0, "") != nullptr && v.equals(*a.find(0, "")); }},
      {"in", [](const Value& v, const Arguments& a) {
         const List items = a.find(0, "") != nullptr ? items_of(*a.find(0, "")) : List{};
         return std::any_of(items.begin(), items.end(), [&](const Value& item) { return item.equals(v); });
       }}};
  return table;
}

Value range(const Arguments& arguments) {
  std::array<std::int64_t, 3> given = {0, 0, 1};
  const std::size_t count = arguments.positional.size();
  if (count < 1 || count > 3) fail("calls range with no or more than three arguments");
  for (std::size_t i = 0; i < count; ++i) {
    const auto* number = arguments.positional[i].integer();
    if (number == nullptr) fail("calls range with something else than integers");
    given[count == 1 ? 1 : i] = *number;
  }
  const auto [begin, end, step] = given;
  if (step == 0 || std::max({std::abs(begin), std::abs(end), std::abs(step)}) > 100'000)
    fail("calls range with a step of 0, or for more than 100000 numbers");
  List out;
  for (std::int64_t i = begin; step > 0 ? i < end : i > end; i += step) out.emplace_back(i);
  return out;
}

Value now(const Arguments& arguments) {
  const std::string format = text_of(arguments, 0, "format", "");
  const std::time_t seconds = std::time(nullptr);
  std::tm local{};
  localtime_r(&seconds, &local);
  std::array<char, 256> buffer{};
  return std::string(buffer.data(), std::strftime(buffer.data(), buffer.size(), format.c_str(), &local));
}

}  // namespace

Value apply_filter(const std::string& name, const Value& value, const Arguments& arguments) {
  const auto it = filters().find(name);
  if (it == filters().end()) fail(fmt::format("uses the filter `{}`, which is not supported", name));
  return it->second(value, arguments);
}

bool apply_test(const std::string& name, const Value& value, const Arguments& arguments) {
  const bool is_equality = name == "eq" || name == "==" || name == "sameas";
  const auto it = tests().find(is_equality ? "equalto" : name);
  if (it == tests().end()) fail(fmt::format("uses the test `{}`, which is not supported", name));
  return it->second(value, arguments);
}

void define_globals(Scope& scope) {
  scope.set("range", Value(Function(range)));
  const Function dict = [](const Arguments& arguments) { return Value(arguments.named); };
  scope.set("dict", Value(dict));
  scope.set("namespace", Value(dict));
  scope.set("strftime_now", Value(Function(now)));
  scope.set("raise_exception", Value(Function([](const Arguments& arguments) -> Value {
              fail(fmt::format("refuses: {}", text_of(arguments, 0, "message", "")));
            })));
}

}  // namespace dstrain::jinja
