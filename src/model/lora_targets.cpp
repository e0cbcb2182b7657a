// SPDX-License-Identifier: Apache-2.0
#include "model/lora_targets.hpp"

#include <algorithm>

#include "model/families/family.hpp"

namespace dstrain {

std::vector<LinearModule> linear_modules(const ModelSpec& s) {
  const FamilyNames& names = s.family->names;
  const std::int64_t q = s.num_attention_heads * s.head_dim;
  const std::int64_t kv = s.num_key_value_heads * s.head_dim;
  std::vector<LinearModule> modules;
  const auto add = [&](const char* path, std::int64_t out, std::int64_t in) {
    modules.push_back({path, out, in, s.transposed_weights});
  };
  const auto add_group = [&](const auto& group, const auto& rows, std::int64_t in) {
    if (group[1] == nullptr) {
      std::int64_t all = 0;
      for (const std::int64_t r : rows) all += r;
      return add(group[0], all, in);
    }
    for (std::size_t i = 0; i < group.size(); ++i) add(group[i], rows[i], in);
  };
  add_group(names.qkv, std::array{q, kv, kv}, s.hidden_size);
  add(names.o, s.hidden_size, q);
  add_group(names.gate_up, std::array{s.gated ? s.intermediate_size : 0, s.intermediate_size}, s.hidden_size);
  add(names.down, s.hidden_size, s.intermediate_size);
  return modules;
}

std::vector<std::string> lora_targets(const ModelSpec& spec) {
  std::vector<std::string> targets;
  for (const LinearModule& module : linear_modules(spec)) {
    std::string name = module.path.substr(module.path.rfind('.') + 1);
    if (std::find(targets.begin(), targets.end(), name) == targets.end()) targets.push_back(std::move(name));
  }
  return targets;
}

}  // namespace dstrain
