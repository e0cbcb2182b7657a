// SPDX-License-Identifier: Apache-2.0
#include "config/key_schema.hpp"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "core/error.hpp"

namespace dstrain {
namespace {

struct Table {
  std::vector<KeySpec> rows;
  std::vector<KeyGroup> groups;  // same index as rows
  std::unordered_map<std::string_view, std::size_t> by_name;

  void add(KeyGroup group, const std::vector<KeySpec>& more) {
    for (const auto& row : more) {
      const bool fresh = by_name.emplace(row.name, rows.size()).second;
      DSTRAIN_CHECK(fresh, "key '{}' stands twice in the schema", row.name);
      rows.push_back(row);
      groups.push_back(group);
    }
  }
};

const Table& table() {
  static const Table built = [] {
    Table t;
    t.add(KeyGroup::dstrain, keys::own());
    t.add(KeyGroup::dstrain, keys::measuring());
    t.add(KeyGroup::model, keys::model());
    t.add(KeyGroup::model, keys::model_unused());
    t.add(KeyGroup::data, keys::data());
    t.add(KeyGroup::finetuning, keys::finetuning());
    t.add(KeyGroup::finetuning, keys::finetuning_methods());
    t.add(KeyGroup::training, keys::training());
    t.add(KeyGroup::training, keys::training_output());
    t.add(KeyGroup::training, keys::training_unused());
    t.add(KeyGroup::generation, keys::generation());
    t.add(KeyGroup::other, keys::other());
    t.add(KeyGroup::other, keys::other_versions());
    return t;
  }();
  return built;
}

/// The rows of one dialect; none for the trainer, whose table is the other one.
std::vector<KeySpec> rows_of(Dialect dialect) {
  const auto join = [](std::initializer_list<std::vector<KeySpec>> parts) {
    std::vector<KeySpec> rows;
    for (const auto& part : parts) rows.insert(rows.end(), part.begin(), part.end());
    return rows;
  };
  switch (dialect) {
    case Dialect::trainer:
      return {};
    case Dialect::deepspeed:
      return join(
          {keys::deepspeed_engine(), keys::deepspeed_zero(), keys::deepspeed_sections(), keys::deepspeed_unused()});
    case Dialect::accelerate:
      return join({keys::accelerate(), keys::accelerate_sections()});
    case Dialect::gdgpt:
      return keys::gdgpt();
    case Dialect::deepspeed_chat:
      return keys::deepspeed_chat();
    case Dialect::launcher:
      return keys::launcher();
  }
  return {};
}

}  // namespace

namespace keys {

ValueType type_of(const Member& member) {
  struct Visitor {
    ValueType operator()(std::monostate) const { return ValueType::any; }
    ValueType operator()(bool RunConfig::*) const { return ValueType::boolean; }
    ValueType operator()(std::optional<bool> RunConfig::*) const { return ValueType::boolean; }
    ValueType operator()(int RunConfig::*) const { return ValueType::integer; }
    ValueType operator()(std::optional<int> RunConfig::*) const { return ValueType::integer; }
    ValueType operator()(std::int64_t RunConfig::*) const { return ValueType::integer; }
    ValueType operator()(std::optional<std::int64_t> RunConfig::*) const { return ValueType::integer; }
    ValueType operator()(double RunConfig::*) const { return ValueType::number; }
    ValueType operator()(std::optional<double> RunConfig::*) const { return ValueType::number; }
    ValueType operator()(std::string RunConfig::*) const { return ValueType::text; }
    ValueType operator()(std::optional<std::string> RunConfig::*) const { return ValueType::text; }
    ValueType operator()(std::vector<std::string> RunConfig::*) const { return ValueType::list; }
    ValueType operator()(std::optional<DeepSpeedSection> RunConfig::*) const { return ValueType::any; }
    ValueType operator()(std::optional<Fp16Options> RunConfig::*) const { return ValueType::any; }
    ValueType operator()(std::optional<NamedArguments> RunConfig::*) const { return ValueType::any; }
  };
  return std::visit(Visitor{}, member);
}

KeySpec runs(std::string_view name, Member member, std::string_view meaning) {
  KeySpec key;
  key.name = name;
  key.action = KeyClass::runs;
  key.type = type_of(member);
  key.member = member;
  key.meaning = meaning;
  return key;
}

KeySpec becomes(std::string_view name, ValueType type, std::string_view initial, std::string_view meaning,
                std::string_view target) {
  KeySpec key;
  key.name = name;
  key.action = KeyClass::runs;
  key.type = type;
  key.initial = initial;
  key.meaning = meaning;
  key.target = target;
  return key;
}

KeySpec noted(std::string_view name, ValueType type, std::string_view initial, std::string_view meaning,
              std::string_view why) {
  KeySpec key;
  key.name = name;
  key.action = KeyClass::noted;
  key.type = type;
  key.initial = initial;
  key.meaning = meaning;
  key.why = why;
  return key;
}

KeySpec refused(std::string_view name, ValueType type, std::string_view initial, std::string_view meaning,
                std::string_view why) {
  auto key = noted(name, type, initial, meaning, why);
  key.action = KeyClass::refused;
  return key;
}

}  // namespace keys

std::span<const KeySpec> all_keys() { return table().rows; }

std::span<const KeySpec> dialect_keys(Dialect dialect) {
  static const auto tables = [] {
    std::map<Dialect, std::vector<KeySpec>> built;
    for (const auto one : {Dialect::trainer, Dialect::deepspeed, Dialect::accelerate, Dialect::gdgpt,
                           Dialect::deepspeed_chat, Dialect::launcher}) {
      built.emplace(one, rows_of(one));
    }
    return built;
  }();
  return dialect == Dialect::trainer ? all_keys() : std::span<const KeySpec>(tables.at(dialect));
}

const KeySpec* find_key(Dialect dialect, std::string_view path) {
  const auto rows = dialect_keys(dialect);
  const auto exact = std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.name == path; });
  if (exact != rows.end()) return &*exact;
  const auto section = std::find_if(rows.begin(), rows.end(), [&](const auto& row) {
    return row.name.ends_with(".*") && path.starts_with(row.name.substr(0, row.name.size() - 1));
  });
  return section == rows.end() ? nullptr : &*section;
}

bool is_section(Dialect dialect, std::string_view path) {
  const auto rows = dialect_keys(dialect);
  return std::any_of(rows.begin(), rows.end(), [&](const auto& row) {
    return row.name.size() > path.size() && row.name.starts_with(path) && row.name[path.size()] == '.';
  });
}

std::string_view title_of(Dialect dialect) {
  switch (dialect) {
    case Dialect::trainer:
      return "the trainer";
    case Dialect::deepspeed:
      return "DeepSpeed";
    case Dialect::accelerate:
      return "accelerate";
    case Dialect::gdgpt:
      return "gdGPT";
    case Dialect::deepspeed_chat:
      return "DeepSpeed-Chat";
    case Dialect::launcher:
      return "a launcher";
  }
  return {};
}

KeyGroup group_of(const KeySpec& key) { return table().groups[table().by_name.at(key.name)]; }

std::string_view title_of(KeyGroup group) {
  switch (group) {
    case KeyGroup::dstrain:
      return "dstrain's own";
    case KeyGroup::model:
      return "Model";
    case KeyGroup::data:
      return "Data";
    case KeyGroup::finetuning:
      return "Fine-tuning";
    case KeyGroup::training:
      return "Training";
    case KeyGroup::generation:
      return "Generation";
    case KeyGroup::other:
      return "Other versions and launchers";
  }
  return {};
}

const KeySpec* find_key(std::string_view name) {
  const auto it = table().by_name.find(name);
  return it == table().by_name.end() ? nullptr : &table().rows[it->second];
}

}  // namespace dstrain
