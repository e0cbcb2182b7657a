// SPDX-License-Identifier: Apache-2.0
#include "model/adapters/tuning.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "model/adapters/adapter_names.hpp"
#include "model/adapters/freeze.hpp"
#include "model/adapters/module_patterns.hpp"
#include "model/families/family.hpp"

namespace dstrain {

namespace {

bool is_matrix(const TensorLayout& tensor) { return tensor.shape.size() == 2 && tensor.name.ends_with(".weight"); }
/// A table of rows, of tokens or positions: the matrices of the first unit.
bool is_lookup(const TensorLayout& tensor) { return is_matrix(tensor) && tensor.unit == 0; }
bool is_linear(const TensorLayout& tensor) { return is_matrix(tensor) && tensor.unit != 0; }

/// Puts every tensor into the part that `trainable` chooses, in the order they had. What was fused stays so.
/// @throws ConfigError  only some matrices of a fused product would be trained: they would lie apart
template <typename Trainable>
void choose_parts(ModelLayout& layout, const Trainable& trainable) {
  for (UnitLayout& unit : layout.units) {
    for (PartLayout& part : unit.parts) part = {};
    const TensorLayout* before = nullptr;
    for (const std::int32_t index : unit.tensors) {
      TensorLayout& tensor = layout.tensors[static_cast<std::size_t>(index)];
      tensor.part = trainable(tensor) ? PartKind::trainable : PartKind::frozen;
      if (tensor.fused && before->part != tensor.part) {
        throw ConfigError(fmt::format("'{}' and '{}' are one product here: train both whole, or none",
                                      module_of(before->name), module_of(tensor.name)),
                          {}, "use lora_target for single projections");
      }
      place_tensor(unit.parts[static_cast<int>(tensor.part)], tensor, tensor.fused);
      before = &tensor;
    }
  }
}

/// Adapters of fused matrices (equal inputs, no gap) lie side by side, so that one product serves them all.
void append_adapters(ModelLayout& layout, const AdapterConfig& config) {
  const auto base = static_cast<std::int32_t>(layout.tensors.size());
  std::vector<std::int32_t> weights;
  for (std::int32_t i = 0; i < base; ++i) {
    const TensorLayout& tensor = layout.tensors[static_cast<std::size_t>(i)];
    if (is_matrix(tensor) && is_target(config, module_of(tensor.name))) weights.push_back(i);
  }
  const auto append = [&](const TensorLayout weight, const char* suffix, std::vector<std::int64_t> shape,
                          bool adjacent) {
    append_tensor(layout, weight.unit, module_of(weight.name) + suffix, std::move(shape), adjacent);
    return static_cast<std::int32_t>(layout.tensors.size()) - 1;
  };
  for (std::size_t first = 0; first < weights.size();) {
    std::size_t last = first + 1;
    const auto tensor = [&](std::size_t i) { return layout.tensors[static_cast<std::size_t>(weights[i])]; };
    while (last < weights.size() && tensor(last).fused && weights[last] == weights[last - 1] + 1) ++last;
    std::vector<AdapterLayout> group;
    for (std::size_t i = first; i < last; ++i) {
      const TensorLayout weight = tensor(i);
      const std::string module = module_of(weight.name);
      AdapterLayout adapter;
      adapter.weight = weight.index;
      adapter.rank = config.rank_of(module);
      adapter.scale = static_cast<float>(config.scale_of(module));
      adapter.lookup = is_lookup(weight);
      adapter.transposed = weight.transposed || adapter.lookup;
      adapter.out = weight.shape[adapter.transposed ? 1 : 0];
      adapter.in = weight.shape[adapter.transposed ? 0 : 1];
      adapter.dropout = adapter.lookup ? 0.0F : static_cast<float>(config.lora_dropout);  // PEFT drops no ids
      adapter.a = append(weight, adapter.lookup ? lookup_a_suffix : a_suffix, {adapter.rank, adapter.in}, i > first);
      group.push_back(adapter);
    }
    for (AdapterLayout& adapter : group) {
      const TensorLayout weight = layout.tensors[static_cast<std::size_t>(adapter.weight)];
      adapter.b = append(weight, adapter.lookup ? lookup_b_suffix : b_suffix, {adapter.out, adapter.rank}, false);
      if (config.use_dora) adapter.magnitude = append(weight, magnitude_suffix, {adapter.out}, false);
      layout.adapters.push_back(adapter);
    }
    first = last;
  }
}

void check_something_fits(const ModelLayout& layout, const AdapterConfig& config) {
  for (const std::string& name : config.modules_to_save) {
    AdapterConfig one;
    one.modules_to_save = {name};
    const bool known = std::any_of(layout.tensors.begin(), layout.tensors.end(), [&](const TensorLayout& tensor) {
      return is_saved_whole(one, module_of(tensor.name));
    });
    if (!known) {
      throw ConfigError(fmt::format("additional_target: no module of the model is called '{}'", name), {},
                        "give the last part of a module's name, such as embed_tokens or lm_head");
    }
  }
  if (!layout.adapters.empty()) return;
  std::string names;
  for (const auto& name : config.target_modules) names += (names.empty() ? "" : ",") + name;
  throw ConfigError(fmt::format("Target modules {{{}}} not found in the base model.", names), {},
                    "see the names of the model's linear layers in its weight file, or say lora_target: all");
}

}  // namespace

ModelSpec tuned_spec(ModelSpec spec, const Tuning& tuning) {
  if (tuning.kind != TuningKind::lora || !spec.tie_word_embeddings) return spec;
  const ModelLayout layout = make_layout(spec);
  const std::string embedding = module_of(layout.tensors.front().name);
  const AdapterConfig& c = tuning.adapter;
  const std::string head = spec.family->names.head;
  const bool changed = is_saved_whole(c, embedding) || is_saved_whole(c, head) || is_target(c, head);
  if (changed) spec.tie_word_embeddings = false;
  return spec;
}

ModelSpec merged_spec(ModelSpec spec, const Tuning& tuning) {
  spec = tuned_spec(std::move(spec), tuning);
  if (tuning.kind != TuningKind::lora || !spec.tie_word_embeddings) return spec;
  if (is_target(tuning.adapter, module_of(make_layout(spec).tensors.front().name))) spec.tie_word_embeddings = false;
  return spec;
}

ModelLayout make_tuned_layout(const ModelSpec& spec, const Tuning& tuning) {
  ModelLayout layout = make_layout(spec);
  if (tuning.kind == TuningKind::full) return layout;
  if (tuning.kind == TuningKind::freeze) {
    const FrozenChoice choice(spec, layout, tuning.freeze);
    choose_parts(layout, [&](const TensorLayout& tensor) { return choice.trains(tensor.name); });
  } else {
    choose_parts(layout,
                 [&](const TensorLayout& tensor) { return is_saved_whole(tuning.adapter, module_of(tensor.name)); });
    append_adapters(layout, tuning.adapter);
    check_something_fits(layout, tuning.adapter);
  }
  finish_layout(layout);
  return layout;
}

std::vector<std::string> expanded_module_names(const ModelSpec& spec, const ModelLayout& layout,
                                               const std::vector<std::string>& names, std::int64_t trainable_layers) {
  const auto blocks = expanded_blocks(spec.num_hidden_layers, trainable_layers);
  std::vector<std::string> found;
  for (const TensorLayout& tensor : layout.tensors) {
    if (!is_linear(tensor)) continue;
    const std::string module = module_of(tensor.name);
    const auto holds = [&](const std::string& part) { return module.find(part) != std::string::npos; };
    const bool in_block = std::any_of(blocks.begin(), blocks.end(),
                                      [&](std::int64_t block) { return holds(fmt::format(".{}.", block)); });
    if (in_block && std::any_of(names.begin(), names.end(), holds)) found.push_back(module);
  }
  return found;
}

std::vector<std::string> unmatched_targets(const ModelLayout& layout, const AdapterConfig& config) {
  std::vector<std::string> unmatched;
  if (config.target_is_regex) return unmatched;
  for (const std::string& name : config.target_modules) {
    const bool fits = std::any_of(layout.adapters.begin(), layout.adapters.end(), [&](const AdapterLayout& adapter) {
      return is_or_ends_in(module_of(layout.tensors[static_cast<std::size_t>(adapter.weight)].name), name);
    });
    if (!fits) unmatched.push_back(name);
  }
  return unmatched;
}

ParameterCounts count_parameters(const ModelSpec& spec, const ModelLayout& layout, const Tuning& tuning) {
  ParameterCounts counts;
  std::int64_t adapters = 0;
  std::int64_t copies = 0;
  for (const TensorLayout& tensor : layout.tensors) {
    if (tensor.part != PartKind::trainable) continue;
    counts.trainable += tensor.count;
    const bool adapter = tensor.name.find(".lora_") != std::string::npos;
    (adapter ? adapters : copies) += tensor.count;
  }
  counts.all = make_layout(spec).parameters + adapters + (tuning.kind == TuningKind::lora ? copies : 0);
  return counts;
}

}  // namespace dstrain
