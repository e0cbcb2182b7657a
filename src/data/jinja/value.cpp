// SPDX-License-Identifier: Apache-2.0
#include "data/jinja/value.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "data/tokenizers/unicode.hpp"

namespace dstrain::jinja {
namespace {

constexpr int max_value_depth = 200;
constexpr std::size_t whole_budget = 512U << 20;
thread_local std::size_t budget = whole_budget;

template <typename T>
std::shared_ptr<T> shared_and_charged(T value, std::size_t bytes) {
  charge(bytes);
  return std::make_shared<T>(std::move(value));
}

}  // namespace

void charge(std::size_t bytes) {
  if (bytes > budget) fail("makes or looks at too much");
  budget -= bytes;
}

void reset_budget() { budget = whole_budget; }

Value::Value(std::string s) {
  const std::size_t size = s.size();
  data_ = std::shared_ptr<const std::string>(shared_and_charged(std::move(s), 64 + size));
}
Value::Value(const char* s) : Value(std::string(s)) {}
Value::Value(List list) {
  const std::size_t size = list.size();
  data_ = shared_and_charged(std::move(list), 64 + size * sizeof(Value));
}
Value::Value(Dict dict) {
  const std::size_t size = dict.size();
  data_ = shared_and_charged(std::move(dict), 64 + size * (sizeof(Value) + 64));
}
Value::Value(Function f) : data_(std::make_shared<Function>(std::move(f))) {}

const Value* Arguments::find(std::size_t i, std::string_view name) const {
  if (i < positional.size()) return &positional[i];
  const auto it = std::find_if(named.begin(), named.end(), [&](const auto& entry) { return entry.first == name; });
  return it == named.end() ? nullptr : &it->second;
}

std::optional<double> Value::number() const {
  if (const auto* i = integer()) return static_cast<double>(*i);
  if (const auto* d = std::get_if<double>(&data_)) return *d;
  if (const auto* b = std::get_if<bool>(&data_)) return *b ? 1.0 : 0.0;
  return std::nullopt;
}

bool Value::truthy() const {
  if (is_undefined() || is_none()) return false;
  if (const auto n = number()) return *n != 0;
  if (const auto* s = string()) return !s->empty();
  if (const auto* l = list()) return !l->empty();
  if (const auto* d = dict()) return !d->empty();
  return true;
}

std::string Value::text() const {
  if (is_undefined()) return "";
  if (const auto* s = string()) return *s;
  return python::to_text(to_python());
}

python::Value Value::to_python(int depth) const {
  if (depth > max_value_depth) fail("prints a value that holds itself");
  charge(sizeof(python::Value) + (string() != nullptr ? string()->size() : 0));
  python::Value out;
  if (is_none()) return out;
  if (const auto* s = string()) return python::Value::of(*s);
  if (const auto* b = std::get_if<bool>(&data_)) {
    out.kind = python::Value::Kind::boolean;
    out.boolean = *b;
  } else if (const auto* i = integer()) {
    out.kind = python::Value::Kind::integer;
    out.text = std::to_string(*i);
  } else if (const auto n = number()) {
    out.kind = python::Value::Kind::number;
    out.number = *n;
  } else if (const auto* l = list()) {
    out.kind = python::Value::Kind::array;
    out.items.reserve(l->size());
    for (const Value& item : *l) out.items.push_back(item.to_python(depth + 1));
  } else if (const auto* d = dict()) {
    out.kind = python::Value::Kind::object;
    for (const auto& [key, value] : *d) out.members.emplace_back(key, value.to_python(depth + 1));
  } else {
    fail(fmt::format("prints {}", type()));
  }
  return out;
}

const char* Value::type() const {
  if (is_undefined()) return "an undefined value";
  if (is_none()) return "none";
  if (is_bool()) return "a boolean";
  if (number()) return "a number";
  if (string() != nullptr) return "a text";
  if (list() != nullptr) return "a list";
  return dict() != nullptr ? "a mapping" : "a function";
}

Value Value::member(std::string_view key) const {
  const Dict* entries = dict();
  if (entries == nullptr) return {};
  const auto it = std::find_if(entries->begin(), entries->end(), [&](const auto& entry) { return entry.first == key; });
  return it == entries->end() ? Value() : it->second;
}

bool Value::equals(const Value& other, int depth) const {
  if (depth > max_value_depth) fail("compares a value that holds itself");
  charge(16 + (string() != nullptr ? string()->size() / 16 : 0));
  if (const auto a = number()) {
    const auto b = other.number();
    return b && *a == *b;
  }
  if (is_undefined() || is_none()) return is_undefined() == other.is_undefined() && is_none() == other.is_none();
  if (const auto* s = string()) return other.string() != nullptr && *s == *other.string();
  if (const auto* l = list()) {
    const auto* m = other.list();
    return m != nullptr && l->size() == m->size() &&
           std::equal(l->begin(), l->end(), m->begin(),
                      [&](const Value& a, const Value& b) { return a.equals(b, depth + 1); });
  }
  if (const auto* d = dict()) {
    const auto* e = other.dict();
    return e != nullptr && d->size() == e->size() && std::all_of(d->begin(), d->end(), [&](const auto& entry) {
             return entry.second.equals(other.member(entry.first), depth + 1);
           });
  }
  return false;
}

void fail(const std::string& problem) {
  throw ConfigError("the tokenizer's chat template " + problem, "template",
                    "name the template: `template: ...`; docs/chat-templates.md says what is known");
}

std::vector<std::string> characters(std::string_view text) {
  charge(text.size() * sizeof(std::string));
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    unicode::next_code_point(text, at);
    out.emplace_back(text.substr(begin, at - begin));
  }
  return out;
}

List items_of(const Value& value) {
  if (value.is_undefined()) return {};
  if (const auto* l = value.list()) {
    charge(l->size() * sizeof(Value));
    return *l;
  }
  List out;
  if (const auto* d = value.dict()) {
    for (const auto& [key, member] : *d) out.emplace_back(key);
  } else if (const auto* s = value.string()) {
    for (auto& c : characters(*s)) out.emplace_back(std::move(c));
  } else {
    fail(fmt::format("loops over {}", value.type()));
  }
  return out;
}

}  // namespace dstrain::jinja
