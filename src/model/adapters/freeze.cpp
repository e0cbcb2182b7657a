// SPDX-License-Identifier: Apache-2.0
#include "model/adapters/freeze.hpp"

#include <algorithm>
#include <cctype>
#include <set>

#include "core/error.hpp"
#include "model/adapters/module_patterns.hpp"

namespace dstrain {

namespace {

/// Where ".<number>." stands in a name, and the end of it; npos where it does not.
std::size_t behind_number(const std::string& name, const std::string& number) {
  const auto at = name.find("." + number + ".");
  return at == std::string::npos ? at : at + number.size() + 2;
}

bool names_a_block(const std::string& name) {
  for (std::size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
    std::size_t end = dot + 1;
    while (end < name.size() && std::isdigit(static_cast<unsigned char>(name[end])) != 0) ++end;
    if (end > dot + 1 && end < name.size() && name[end] == '.') return true;
  }
  return false;
}

/// First parts of the names inside a block: "self_attn", "mlp", "input_layernorm".
std::set<std::string> block_modules(const ModelLayout& layout) {
  std::set<std::string> names;
  for (const TensorLayout& tensor : layout.tensors) {
    const auto at = behind_number(tensor.name, "0");
    if (at != std::string::npos) names.insert(tensor.name.substr(at, tensor.name.find('.', at) - at));
  }
  return names;
}

/// Names of the modules outside the blocks: "embed_tokens", "norm".
std::set<std::string> extra_modules(const ModelLayout& layout) {
  std::set<std::string> names;
  for (const TensorLayout& tensor : layout.tensors) {
    if (!names_a_block(tensor.name)) names.emplace(last_part(module_of(tensor.name)));
  }
  return names;
}

void check_known(const char* key, const std::string& name, const std::set<std::string>& known) {
  if (known.contains(name)) return;
  std::string list;
  for (const auto& each : known) list += (list.empty() ? "" : ", ") + each;
  throw ConfigError(fmt::format("{}: Module {} is not found, please choose from {}", key, name, list));
}

std::vector<std::int64_t> chosen_blocks(std::int64_t blocks, const FreezeOptions& options) {
  const std::int64_t n = options.freeze_trainable_layers;
  if (options.use_llama_pro) return expanded_blocks(blocks, n);
  if (n == 0) return {};
  const std::int64_t first = n > 0 ? std::max<std::int64_t>(0, blocks - n) : 0;
  const std::int64_t last = n > 0 ? blocks : std::min(-n, blocks);
  std::vector<std::int64_t> chosen;
  for (std::int64_t block = first; block < last; ++block) chosen.push_back(block);
  return chosen;
}

}  // namespace

FrozenChoice::FrozenChoice(const ModelSpec& spec, const ModelLayout& layout, const FreezeOptions& options) {
  const auto known = block_modules(layout);
  const auto blocks = chosen_blocks(spec.num_hidden_layers, options);
  for (const std::string& module : options.freeze_trainable_modules) {
    if (module != "all") check_known("freeze_trainable_modules", module, known);
    for (const std::int64_t block : blocks)
      fragments_.push_back(fmt::format(".{}.{}", block, module == "all" ? "" : module));
  }
  const auto extra = extra_modules(layout);
  for (const std::string& module : options.freeze_extra_modules) {
    check_known("freeze_extra_modules", module, extra);
    fragments_.push_back(module);
  }
  const auto trained = [&](const TensorLayout& tensor) { return trains(tensor.name); };
  if (std::none_of(layout.tensors.begin(), layout.tensors.end(), trained)) {
    throw ConfigError("freeze_trainable_layers: 0 trains nothing", {},
                      "give a number of layers or freeze_extra_modules");
  }
}

bool FrozenChoice::trains(const std::string& tensor_name) const {
  return std::any_of(fragments_.begin(), fragments_.end(),
                     [&](const auto& fragment) { return tensor_name.find(fragment) != std::string::npos; });
}

std::vector<std::int64_t> expanded_blocks(std::int64_t blocks, std::int64_t trainable_layers) {
  if (trainable_layers < 1 || blocks % trainable_layers != 0) {
    throw ConfigError(
        fmt::format("`num_layers` {} should be divisible by `num_layer_trainable` {}.", blocks, trainable_layers),
        "freeze_trainable_layers");
  }
  const std::int64_t stride = blocks / trainable_layers;
  std::vector<std::int64_t> chosen;
  for (std::int64_t block = stride - 1; block < blocks; block += stride) chosen.push_back(block);
  return chosen;
}

}  // namespace dstrain
