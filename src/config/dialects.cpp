// SPDX-License-Identifier: Apache-2.0
#include "config/dialects.hpp"

#include <algorithm>

#include "config/key_schema.hpp"

namespace dstrain {
namespace {

bool has(const ConfigValue& tree, std::string_view name) { return tree.find(name) != nullptr; }

/// A top-level name that the dialect has and the trainer has not.
bool is_only(Dialect dialect, const std::string& name) {
  if (find_key(name) != nullptr || find_alias(name) != nullptr) return false;
  return find_key(dialect, name) != nullptr || is_section(dialect, name);
}

}  // namespace

Dialect dialect_of(const ConfigValue& tree) {
  if (!tree.is_map()) return Dialect::trainer;
  const auto count = [&](Dialect dialect) {
    return std::count_if(tree.members.begin(), tree.members.end(),
                         [&](const auto& member) { return is_only(dialect, member.first); });
  };
  // Keys that no other file has; a trainer's file may hold stray ones, and then those are its mistakes.
  const bool trainers = has(tree, "model_name_or_path") || has(tree, "finetuning_type") || has(tree, "do_train") ||
                        has(tree, "output_dir") || has(tree, "dataset");
  if (trainers) return Dialect::trainer;
  if (has(tree, "distributed_type") || has(tree, "compute_environment")) return Dialect::accelerate;
  if (has(tree, "model_topo") || has(tree, "n_epoches") || has(tree, "model_path")) return Dialect::gdgpt;
  const auto* fp16 = tree.find("fp16");
  const auto* bf16 = tree.find("bf16");
  const bool sections = (fp16 != nullptr && fp16->is_map()) || (bf16 != nullptr && bf16->is_map());
  return sections || count(Dialect::deepspeed) > 0 ? Dialect::deepspeed : Dialect::trainer;
}

ConfigValue value_at(const ConfigValue& like, std::string text) {
  return ConfigValue::scalar(std::move(text), like.origin);
}

void put_at(ConfigValue& tree, std::string_view path, ConfigValue value) {
  auto* node = &tree;
  while (true) {
    node->kind = ConfigValue::Kind::map;
    const auto dot = path.find('.');
    const auto name = path.substr(0, dot);
    auto* next = node->find(name);
    if (next == nullptr) {
      next = &node->members.emplace_back(std::string(name), ConfigValue{}).second;
      next->origin = value.origin;
    }
    if (dot == std::string_view::npos) {
      *next = std::move(value);
      return;
    }
    node = next;
    path.remove_prefix(dot + 1);
  }
}

}  // namespace dstrain
