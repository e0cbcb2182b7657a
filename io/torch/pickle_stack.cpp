// SPDX-License-Identifier: Apache-2.0
#include "io/torch/pickle_stack.hpp"

#include <utility>

#include "core/error.hpp"

namespace dstrain::pickle {
namespace {

constexpr std::size_t most_values = 4'000'000;

}  // namespace

void Stack::refuse(const std::string& what, const std::string& hint) const { throw IoError(what, where_, hint); }

Value& Stack::top() {
  if (stack_.size() <= floor()) refuse("its pickle takes a value that is not there");
  return at(stack_.back());
}

Value& Stack::push(Kind kind) {
  if (pool_.size() >= most_values) refuse(fmt::format("its pickle has more than {} values", most_values));
  stack_.push_back(static_cast<Ref>(pool_.size()));
  Value& value = pool_.emplace_back();
  value.kind = kind;
  return value;
}

void Stack::push_tuple(std::size_t count) {
  std::vector<Ref> parts(count);
  for (std::size_t i = count; i-- > 0;) parts[i] = pop();
  push(Kind::tuple).parts = std::move(parts);
}

Ref Stack::pop() {
  if (stack_.size() <= floor()) refuse("its pickle takes a value that is not there");
  const Ref ref = stack_.back();
  stack_.pop_back();
  return ref;
}

void Stack::mark() {
  marks_.push_back(stack_.size());
  if (marks_.size() > most_values) refuse("its pickle opens too many groups");
}

std::vector<Ref> Stack::pop_to_mark() {
  if (marks_.empty()) refuse("its pickle ends a group that was not begun");
  const std::size_t begin = marks_.back();
  marks_.pop_back();
  std::vector<Ref> values(stack_.begin() + static_cast<std::ptrdiff_t>(begin), stack_.end());
  stack_.resize(begin);
  return values;
}

void Stack::append(Value& to, Kind kind, const std::vector<Ref>& values) {
  if (to.kind != kind || (kind == Kind::dict && values.size() % 2 != 0)) refuse("its pickle fills something else");
  to.parts.insert(to.parts.end(), values.begin(), values.end());
  filled_ += values.size();
  if (filled_ > most_values) refuse(fmt::format("its pickle has more than {} entries", most_values));
}

void Stack::remember(std::uint64_t key) {
  (void)top();
  memo_[key] = stack_.back();
  if (memo_.size() > most_values) refuse("its pickle remembers too much");
}

void Stack::recall(std::uint64_t key) {
  const auto found = memo_.find(key);
  if (found == memo_.end()) refuse(fmt::format("its pickle recalls value {}, which it never kept", key));
  push(found->second);
}

}  // namespace dstrain::pickle
