// SPDX-License-Identifier: Apache-2.0
#include "config/accelerator_config.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>

#include "config/yaml_reader.hpp"
#include "core/error.hpp"

namespace dstrain {
namespace {

/// A switch, and the value that leaves the order of rows as it is; either where `any`.
struct LoaderSwitch {
  std::string_view name;
  bool usual;
  bool any;
};
constexpr LoaderSwitch switches[] = {{"split_batches", false, true},        {"dispatch_batches", false, false},
                                     {"even_batches", true, false},         {"non_blocking", false, true},
                                     {"use_seedable_sampler", true, false}, {"use_configured_state", false, false}};

std::string problem_of(const std::string& name, const ConfigValue& value) {
  if (value.is_null()) return {};
  // The trainer's gradient_accumulation_steps counts in any case.
  if (name == "gradient_accumulation_kwargs") return {};
  const auto* known =
      std::find_if(std::begin(switches), std::end(switches), [&](const auto& s) { return s.name == name; });
  if (known == std::end(switches)) return fmt::format("'{}' is no key of accelerator_config", name);
  const auto on = to_bool(value);
  if (!on) return fmt::format("{}: {} is not true or false", name, value.shown());
  if (known->any || *on == known->usual) return {};
  return fmt::format("{}: {} changes the order of rows and is not supported; leave it out", name, *on);
}

/// The mapping itself, or the one that a text on the command line stands for. @throws ConfigError
ConfigValue tree_of(const ConfigValue& value) {
  const bool is_text = value.kind == ConfigValue::Kind::scalar && value.text.starts_with('{');
  return is_text ? read_yaml(value.text, "accelerator_config") : value;
}

}  // namespace

bool splits_batches(const ConfigValue& accelerator_config) {
  const ConfigValue tree = tree_of(accelerator_config);
  const ConfigValue* split = tree.find("split_batches");
  return split != nullptr && to_bool(*split).value_or(false);
}

std::string accelerator_config_problem(const ConfigValue& value) {
  ConfigValue tree;
  try {
    tree = tree_of(value);
  } catch (const ConfigError& wrong) {
    return wrong.what();
  }
  if (tree.is_null()) return {};
  if (!tree.is_map()) return fmt::format("{} is no mapping", value.shown());
  for (const auto& [name, member] : tree.members) {
    if (auto wrong = problem_of(name, member); !wrong.empty()) return wrong;
  }
  return {};
}

}  // namespace dstrain
