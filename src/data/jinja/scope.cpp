// SPDX-License-Identifier: Apache-2.0
/// Variables of a template that runs.
#include "core/error.hpp"
#include "data/jinja/program.hpp"

namespace dstrain::jinja {

Value Scope::get(const std::string& name) const {
  const auto it = variables_.find(name);
  if (it != variables_.end()) return it->second;
  return around_ == nullptr ? Value() : around_->get(name);
}

void Scope::step() {
  if (++outermost().steps_ > 500'000) fail("runs for too long");
}

void assign(Scope& scope, const std::vector<std::string>& names, const Value& value) {
  if (names.size() == 1) {
    scope.set(names.front(), value);
    return;
  }
  const List parts = items_of(value);
  if (parts.size() != names.size())
    fail(fmt::format("takes {} values apart into {} names", parts.size(), names.size()));
  for (std::size_t i = 0; i < names.size(); ++i) scope.set(names[i], parts[i]);
}

void assign_member(Scope& scope, const std::vector<std::string>& names, const std::string& attribute, Value value) {
  if (attribute.empty()) {
    assign(scope, names, value);
    return;
  }
  const Value object = scope.get(names.front());
  Dict* entries = object.dict();
  if (entries == nullptr) fail(fmt::format("sets a member of {}", object.type()));
  for (auto& [key, old] : *entries) {
    if (key != attribute) continue;
    old = std::move(value);
    return;
  }
  entries->emplace_back(attribute, std::move(value));
}

}  // namespace dstrain::jinja
