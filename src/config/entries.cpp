// SPDX-License-Identifier: Apache-2.0
#include "config/entries.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "config/key_schema.hpp"

namespace dstrain {
namespace {

class Merger {
 public:
  Merger(std::vector<Entry> base, std::vector<std::string>& notes, std::vector<ConfigProblem>& problems)
      : entries_(std::move(base)), base_(entries_.size()), notes_(notes), problems_(problems) {}

  void add(std::string name, ConfigValue value) {
    const auto dot = name.find('.');
    const std::string first = name.substr(0, dot);
    std::string present = first;
    if (const auto* alias = find_alias(first); alias != nullptr && find_key(first) == nullptr) {
      present = rename(*alias, value);
    }
    auto* old = find(present);
    if (dot != std::string::npos) return add_nested(present, name.substr(dot + 1), std::move(value), old);
    if (old == nullptr) {
      entries_.push_back({present, std::move(value)});
    } else if (is_base(*old)) {
      old->value = std::move(value);
    } else if (old->value.origin.source == value.origin.source && value.origin.source == Origin::Source::file) {
      if (!same_value(old->value, value)) {  // read_yaml refuses the same name twice: these are an old and a new name
        problems_.push_back({value.origin, fmt::format("key '{}' contradicts '{}' ({}), its other name", name, present,
                                                       old->value.origin.text())});
      }
    } else {
      old->value = std::move(value);
    }
  }

  std::vector<Entry> take() { return std::move(entries_); }

 private:
  [[nodiscard]] bool is_base(const Entry& entry) const { return &entry < entries_.data() + base_; }

  Entry* find(const std::string& name) {
    const auto it = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name == name; });
    return it == entries_.end() ? nullptr : &*it;
  }

  std::string rename(const KeyAlias& alias, ConfigValue& value) {
    notes_.push_back(fmt::format("key '{}' is now called {}{}{}", alias.old_name, alias.name,
                                 alias.note.empty() ? "" : "; ", alias.note));
    if (alias.negated) {
      if (const auto on = to_bool(value)) value.text = *on ? "false" : "true";
    }
    return std::string(alias.name);
  }

  void add_nested(const std::string& name, std::string path, ConfigValue value, Entry* entry) {
    if (entry == nullptr) {
      ConfigValue empty;
      empty.kind = ConfigValue::Kind::map;
      empty.origin = value.origin;
      entries_.push_back({name, std::move(empty)});
      entry = &entries_.back();
    }
    ConfigValue* node = &entry->value;
    while (true) {
      if (node->is_null()) node->kind = ConfigValue::Kind::map;
      if (!node->is_map()) {
        problems_.push_back({value.origin, fmt::format("key '{}.{}': {} ({}) is no mapping to reach into", name, path,
                                                       node->shown(), node->origin.text())});
        return;
      }
      const auto dot = path.find('.');
      const std::string part = path.substr(0, dot);
      auto* next = node->find(part);
      if (next == nullptr) next = &node->members.emplace_back(part, ConfigValue{}).second;
      if (dot == std::string::npos) {
        *next = std::move(value);
        return;
      }
      if (next->origin.source == Origin::Source::initial) next->origin = value.origin;
      node = next;
      path = path.substr(dot + 1);
    }
  }

  std::vector<Entry> entries_;
  std::size_t base_;  // the first ones
  std::vector<std::string>& notes_;
  std::vector<ConfigProblem>& problems_;
};

}  // namespace

std::vector<Entry> merge_entries(std::vector<Entry> base, const ConfigValue& file, const Arguments& arguments,
                                 std::vector<std::string>& notes, std::vector<ConfigProblem>& problems) {
  Merger merger(std::move(base), notes, problems);
  for (const auto& [name, value] : file.members) merger.add(name, value);
  for (const auto& [name, value] : arguments.overrides) merger.add(name, value);
  return merger.take();
}

}  // namespace dstrain
