// SPDX-License-Identifier: Apache-2.0
/// Subscripts, slices and the methods of Python's str, dict and list that chat templates call.
#include <algorithm>
#include <array>

#include "core/error.hpp"
#include "data/jinja/program.hpp"

namespace dstrain::jinja {
namespace {

constexpr std::string_view blanks = " \t\n\r\f\v";

std::string text_argument(const Arguments& arguments, std::size_t i, std::string_view fallback) {
  const Value* given = arguments.find(i, "");
  if (given == nullptr || given->is_none()) return std::string(fallback);
  if (given->string() == nullptr) fail(fmt::format("passes {} where a text belongs", given->type()));
  return *given->string();
}

std::string strip(const std::string& text, std::string_view set, bool left, bool right) {
  const auto all = characters(text);
  const auto stays = [&](const std::string& c) { return set.find(c) == std::string_view::npos; };
  const auto first = left ? std::find_if(all.begin(), all.end(), stays) : all.begin();
  auto last = all.end();
  while (right && last != first && !stays(*(last - 1))) --last;
  std::string out;
  for (auto it = first; it != last; ++it) out += *it;
  return out;
}

std::int64_t integer_argument(const Arguments& arguments, std::size_t i, std::string_view name, std::int64_t fallback) {
  const Value* given = arguments.find(i, name);
  return given != nullptr && given->integer() != nullptr ? *given->integer() : fallback;
}

/// str.split; without a separator at runs of blanks.
List split(const std::string& text, const Arguments& arguments) {
  const Value* separator = arguments.find(0, "sep");
  std::int64_t left = integer_argument(arguments, 1, "maxsplit", -1);
  List out;
  if (separator == nullptr || separator->is_none()) {
    std::size_t at = text.find_first_not_of(blanks);
    while (at != std::string::npos) {
      const std::size_t end = left-- == 0 ? std::string::npos : text.find_first_of(blanks, at);
      out.emplace_back(text.substr(at, end == std::string::npos ? end : end - at));
      at = end == std::string::npos ? end : text.find_first_not_of(blanks, end);
    }
    return out;
  }
  const std::string by = text_argument(arguments, 0, "");
  if (by.empty()) fail("splits a text at nothing");
  std::size_t at = 0;
  for (std::size_t end = text.find(by); end != std::string::npos && left-- != 0; end = text.find(by, at)) {
    out.emplace_back(text.substr(at, end - at));
    at = end + by.size();
  }
  out.emplace_back(text.substr(at));
  return out;
}

List split_lines(const std::string& text) {
  List out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    out.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

std::string replaced(const std::string& text, const std::string& from, const std::string& to, std::int64_t most) {
  if (from.empty()) fail("replaces nothing in a text");
  std::string out;
  std::size_t at = 0;
  for (std::size_t next = text.find(from); next != std::string::npos && most-- != 0; next = text.find(from, at)) {
    out.append(text, at, next - at).append(to);
    charge(to.size() + next - at);
    at = next + from.size();
  }
  return out.append(text, at);
}

/// startswith and endswith: one text or a tuple of them.
bool any_affix(const Arguments& arguments, const auto& matches) {
  const Value* given = arguments.find(0, "");
  if (given == nullptr) fail("asks what a text starts or ends with, and says nothing");
  if (given->string() != nullptr) return matches(*given->string());
  const List items = items_of(*given);
  return std::any_of(items.begin(), items.end(),
                     [&](const Value& item) { return item.string() != nullptr && matches(*item.string()); });
}

Value call_text_method(const std::string& text, const std::string& name, const Arguments& arguments) {
  charge(64 + text.size() / 16);
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    return strip(text, text_argument(arguments, 0, blanks), name != "rstrip", name != "lstrip");
  }
  if (name == "split") return split(text, arguments);
  if (name == "splitlines") return split_lines(text);
  if (name == "startswith")
    return any_affix(arguments, [&](const std::string& part) { return text.starts_with(part); });
  if (name == "endswith") return any_affix(arguments, [&](const std::string& part) { return text.ends_with(part); });
  if (name == "replace") {
    return replaced(text, text_argument(arguments, 0, ""), text_argument(arguments, 1, ""),
                    integer_argument(arguments, 2, "count", -1));
  }
  if (name == "find" || name == "count") {
    const std::string part = text_argument(arguments, 0, "");
    if (name == "count") return static_cast<std::int64_t>(split(text, arguments).size()) - 1;
    const auto at = text.find(part);
    return at == std::string::npos ? std::int64_t{-1}
                                   : static_cast<std::int64_t>(characters(std::string_view(text).substr(0, at)).size());
  }
  if (name == "upper" || name == "lower" || name == "title" || name == "capitalize")
    return apply_filter(name, Value(text), {});
  if (name == "join") {
    Arguments separator;
    separator.positional.emplace_back(text);
    return apply_filter("join", arguments.find(0, "") != nullptr ? *arguments.find(0, "") : Value(), separator);
  }
  fail(fmt::format("calls `{}` of a text, which is not supported", name));
}

Value call_dict_method(const Value& value, const std::string& name, const Arguments& arguments) {
  const Dict& dict = *value.dict();
  if (name == "items") return apply_filter("items", value, {});
  if (name == "keys") return items_of(value);
  if (name == "values") {
    List out;
    for (const auto& [key, member] : dict) out.push_back(member);
    return out;
  }
  if (name == "get") {
    const std::string key = text_argument(arguments, 0, "");
    const Value found = value.member(key);
    if (!found.is_undefined()) return found;
    const Value* fallback = arguments.find(1, "default");
    return fallback != nullptr ? *fallback : Value(None{});
  }
  fail(fmt::format("calls `{}` of a mapping, which is not supported", name));
}

/// Python's bounds of a slice of `size` items.
std::int64_t bound(const Value& value, std::int64_t size, std::int64_t fallback, bool backwards) {
  if (value.is_undefined() || value.is_none()) return fallback;
  if (value.integer() == nullptr) fail(fmt::format("cuts at {}", value.type()));
  std::int64_t at = *value.integer();
  if (at < 0) at = at < -size ? -1 : at + size;
  if (backwards) return std::clamp<std::int64_t>(at, -1, size - 1);
  return std::clamp<std::int64_t>(at, 0, size);
}

template <typename T>
std::vector<T> slice_of(const std::vector<T>& items, const Value& from, const Value& to, const Value& step) {
  const auto size = static_cast<std::int64_t>(items.size());
  const std::int64_t by = step.integer() != nullptr ? *step.integer() : 1;
  if (by == 0 || by > (1 << 30) || by < -(1 << 30)) fail("cuts in steps of a size that does not go");
  const bool backwards = by < 0;
  const std::int64_t begin = bound(from, size, backwards ? size - 1 : 0, backwards);
  const std::int64_t end = bound(to, size, backwards ? -1 : size, backwards);
  std::vector<T> out;
  for (std::int64_t i = begin; backwards ? i > end : i < end; i += by)
    out.push_back(items[static_cast<std::size_t>(i)]);
  return out;
}

}  // namespace

Value call_method(const Value& value, const std::string& name, const Arguments& arguments) {
  if (const auto* text = value.string()) return call_text_method(*text, name, arguments);
  if (value.dict() != nullptr) return call_dict_method(value, name, arguments);
  fail(fmt::format("calls `{}` of {}", name, value.type()));
}

Value subscript(const Value& value, const Value& index) {
  if (value.is_undefined()) fail(fmt::format("asks an undefined value for `{}`", index.text()));
  if (const auto* key = index.string()) return value.member(*key);
  const auto* number = index.integer();
  if (number == nullptr) return {};
  const auto pick = [&](const auto& items) -> Value {
    const auto size = static_cast<std::int64_t>(items.size());
    const std::int64_t at = *number < 0 ? *number + size : *number;
    return at >= 0 && at < size ? Value(items[static_cast<std::size_t>(at)]) : Value();
  };
  if (const auto* list = value.list()) return pick(*list);
  if (const auto* text = value.string()) return pick(characters(*text));
  return {};
}

Value slice(const Value& value, const Value& from, const Value& to, const Value& step) {
  if (const auto* list = value.list()) return slice_of(*list, from, to, step);
  if (const auto* text = value.string()) {
    std::string out;
    for (const auto& c : slice_of(characters(*text), from, to, step)) out += c;
    return out;
  }
  fail(fmt::format("cuts {}", value.type()));
}

}  // namespace dstrain::jinja
