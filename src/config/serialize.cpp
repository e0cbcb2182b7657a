// SPDX-License-Identifier: Apache-2.0
/// RunConfig as text: for the other ranks, and as resolved_config.yaml.
#include <fmt/core.h>

#include "config/key_schema.hpp"
#include "config/resolve.hpp"
#include "config/yaml_reader.hpp"
#include "core/error.hpp"

namespace dstrain {

std::string serialize(const RunConfig& config) {
  std::string out;
  for (const auto& key : all_keys()) {
    if (key.action == KeyClass::runs) out += fmt::format("{}: {}\n", key.name, value_text(key, config));
  }
  return out;
}

RunConfig deserialize(const std::string& text) {
  const auto tree = read_yaml(text, "configuration of rank 0");
  RunConfig config;
  std::size_t read = 0;
  for (const auto& [name, value] : tree.members) {
    const auto* key = find_key(name);
    if (key == nullptr || key->action != KeyClass::runs) {
      throw ConfigError(fmt::format("key '{}' is not one of this program's", name), value.origin.text(),
                        "do all ranks run the same dstrain?");
    }
    if (const auto problem = assign(*key, value, config); !problem.empty()) {
      throw ConfigError(fmt::format("key '{}': {}", name, problem), value.origin.text());
    }
    ++read;
  }
  std::size_t expected = 0;
  for (const auto& key : all_keys()) expected += key.action == KeyClass::runs ? 1 : 0;
  if (read != expected) {
    throw ConfigError(fmt::format("{} of {} keys arrived", read, expected), "configuration of rank 0",
                      "do all ranks run the same dstrain?");
  }
  return config;
}

Origin ResolvedConfig::origin(std::string_view key) const {
  const auto it = origins.find(key);
  return it == origins.end() ? Origin{} : it->second;
}

std::string ResolvedConfig::to_yaml() const {
  std::string out = "# What dstrain ran with, and where each value came from. `dstrain` reads this file again.\n";
  KeyGroup group = KeyGroup::other;
  for (const auto& key : all_keys()) {
    if (key.action != KeyClass::runs) continue;
    if (const auto now = group_of(key); now != group) {
      group = now;
      out += fmt::format("\n### {}\n", title_of(group));
    }
    const auto from = origin(key.name).text();
    const auto line = fmt::format("{}: {}", key.name, value_text(key, config));
    // What the DeepSpeed file said stands in the other keys by now: reading it a second time could only contradict
    // them.
    const bool comment = key.name == "deepspeed" && config.deepspeed.has_value();
    out += fmt::format("{}{}{}\n", comment ? "# " : "", line, from == "default" ? "" : "  # " + from);
  }
  for (const auto& note : notes) out += fmt::format("{}# note: {}\n", &note == &notes.front() ? "\n" : "", note);
  return out;
}

}  // namespace dstrain
