// SPDX-License-Identifier: Apache-2.0
/// What of a model is trained: everything, some layers, or adapters beside frozen weights.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/adapters/adapter_config.hpp"
#include "model/model_spec.hpp"

namespace dstrain {

enum class TuningKind : std::uint8_t { full, freeze, lora };

/// LLaMA-Factory's finetuning_type: freeze. Members carry its keys' names.
struct FreezeOptions {
  std::int64_t freeze_trainable_layers = 2;  ///< above 0: the last n blocks, below: the first n
  std::vector<std::string> freeze_trainable_modules = {"all"};
  std::vector<std::string> freeze_extra_modules = {};
  bool use_llama_pro = false;  ///< the last block of every num_hidden_layers / freeze_trainable_layers
};

struct Tuning {
  TuningKind kind = TuningKind::full;
  FreezeOptions freeze;
  AdapterConfig adapter;  ///< lora
};

/// The model as it is trained. A tied head becomes a matrix of its own where only one of the two is changed: as in PEFT
/// the other one stays what it was. Local, pure.
ModelSpec tuned_spec(ModelSpec spec, const Tuning& tuning);
/// The model once the adapter is part of its weights: a tied head then stays the table without the table's adapter.
ModelSpec merged_spec(ModelSpec spec, const Tuning& tuning);

/// Units, tensors and adapters of tuned_spec(): base tensors under their indices and names of the plain layout, each in
/// its unit's trainable or frozen part, then A, B (and with DoRA the magnitude) of each adapted matrix, trainable, in
/// its unit. Local, pure; warns about nothing.
/// @throws ConfigError  nothing is trained, a name fits no module, or a module cannot be trained alone
ModelLayout make_tuned_layout(const ModelSpec& tuned, const Tuning& tuning);

/// Full paths of the linear layers in `names` (fragments, as LLaMA-Factory matches them) inside the blocks that
/// use_llama_pro trains. @throws ConfigError as freeze
std::vector<std::string> expanded_module_names(const ModelSpec& spec, const ModelLayout& layout,
                                               const std::vector<std::string>& names, std::int64_t trainable_layers);

/// Entries of the adapter's lists that no module of the model fits: worth a warning where others fit.
std::vector<std::string> unmatched_targets(const ModelLayout& layout, const AdapterConfig& config);

/// What PEFT prints as "trainable params" and "all params": there a module saved whole counts twice.
struct ParameterCounts {
  std::int64_t trainable = 0;
  std::int64_t all = 0;
};
ParameterCounts count_parameters(const ModelSpec& spec, const ModelLayout& layout, const Tuning& tuning);

}  // namespace dstrain
