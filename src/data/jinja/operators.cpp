// SPDX-License-Identifier: Apache-2.0
/// Operators of Jinja on Python's values.
#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "data/jinja/program.hpp"

namespace dstrain::jinja {
namespace {

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  const std::int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Value integer_arithmetic(const std::string& op, std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  bool overflow = false;
  if (op == "+") overflow = __builtin_add_overflow(a, b, &out);
  if (op == "-") overflow = __builtin_sub_overflow(a, b, &out);
  if (op == "*") overflow = __builtin_mul_overflow(a, b, &out);
  if (op == "//" || op == "%") {
    if (b == 0 || b == -1) {
      if (b == 0) fail("divides by zero");
      return op == "%" ? Value(std::int64_t{0}) : integer_arithmetic("-", 0, a);
    }
    const std::int64_t quotient = floor_divide(a, b);
    out = op == "//" ? quotient : a - quotient * b;
  }
  if (op == "**") {
    out = 1;
    for (std::int64_t i = 0; i < std::min<std::int64_t>(b, 64) && !overflow; ++i)
      overflow = __builtin_mul_overflow(out, a, &out);
    overflow = overflow || (b > 64 && (a > 1 || a < -1));
  }
  if (overflow) fail("computes a number that is too large");
  return out;
}

}  // namespace

Value arithmetic(const std::string& op, const Value& a, const Value& b) {
  if (op == "~") {
    std::string joined = a.text();
    charge(joined.size());
    return joined + b.text();
  }
  const bool to_float = op == "/" || (op == "**" && b.integer() != nullptr && *b.integer() < 0);
  if (a.integer() != nullptr && b.integer() != nullptr && !to_float)
    return integer_arithmetic(op, *a.integer(), *b.integer());
  const auto x = a.number();
  const auto y = b.number();
  if (x && y) {
    if (op == "+") return *x + *y;
    if (op == "-") return *x - *y;
    if (op == "*") return *x * *y;
    if (op == "**") return std::pow(*x, *y);
    if (*y == 0) fail("divides by zero");
    if (op == "/") return *x / *y;
    const double quotient = std::floor(*x / *y);
    return op == "//" ? quotient : *x - quotient * *y;
  }
  if (op == "+" && a.string() != nullptr && b.string() != nullptr) return *a.string() + *b.string();
  if (op == "+" && a.list() != nullptr && b.list() != nullptr) {
    List out = *a.list();
    out.insert(out.end(), b.list()->begin(), b.list()->end());
    return out;
  }
  fail(fmt::format("computes {} {} {}", a.type(), op, b.type()));
}

bool contains(const Value& container, const Value& item) {
  if (const auto* text = container.string()) {
    charge(64 + text->size() / 16);
    if (item.string() == nullptr) fail(fmt::format("looks for {} in a text", item.type()));
    return text->find(*item.string()) != std::string::npos;
  }
  for (const Value& candidate : items_of(container)) {
    if (candidate.equals(item)) return true;
  }
  return false;
}

bool compare(const std::string& op, const Value& a, const Value& b) {
  if (op == "==") return a.equals(b);
  if (op == "!=") return !a.equals(b);
  const auto x = a.number();
  const auto y = b.number();
  double order = 0;
  if (x && y) {
    order = *x - *y;
  } else if (a.string() != nullptr && b.string() != nullptr) {
    order = a.string()->compare(*b.string());
  } else {
    fail(fmt::format("compares {} with {}", a.type(), b.type()));
  }
  if (op == "<") return order < 0;
  if (op == "<=") return order <= 0;
  return op == ">" ? order > 0 : order >= 0;
}

}  // namespace dstrain::jinja
