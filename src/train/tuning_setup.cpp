// SPDX-License-Identifier: Apache-2.0
#include "train/tuning_setup.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "core/log.hpp"
#include "model/adapters/adapter_names.hpp"
#include "model/families/family.hpp"
#include "model/lora_targets.hpp"
#include "train/adapter_files.hpp"
#include "train/run_setup.hpp"

namespace dstrain {

namespace {

/// No module is called like this, so it can only be an expression.
bool looks_like_an_expression(const std::string& name) {
  return name.find_first_of("*()[]|\\^$+?") != std::string::npos;
}

AdapterConfig new_adapter(const RunConfig& c, const ModelSpec& spec) {
  const ModelLayout layout = make_layout(spec);
  AdapterConfig adapter;
  adapter.r = c.lora_rank;
  adapter.lora_alpha = c.lora_alpha.value_or(0.0) != 0.0 ? *c.lora_alpha : 2.0 * c.lora_rank;
  adapter.lora_dropout = c.lora_dropout;
  adapter.use_rslora = c.use_rslora;
  adapter.use_dora = c.use_dora;
  adapter.modules_to_save = c.additional_target;
  if (c.resize_vocab && adapter.modules_to_save.empty()) {
    for (const std::string_view path : {spec.family->names.embedding, spec.family->names.head})
      adapter.modules_to_save.emplace_back(path.substr(path.rfind('.') + 1));
    log::warning("Vocab has been resized, add {},{} to trainable params.", adapter.modules_to_save[0],
                 adapter.modules_to_save[1]);
  }
  adapter.target_modules = c.lora_target;
  const bool one = c.lora_target.size() == 1;
  if (one && c.lora_target.front() == "all") {
    adapter.target_modules = lora_targets(spec);
    std::string names;
    for (const auto& name : adapter.target_modules) names += (names.empty() ? "" : ",") + name;
    log::info("Found linear modules: {}", names);
  } else if (one && looks_like_an_expression(c.lora_target.front())) {
    adapter.target_is_regex = true;
  }
  if (c.use_llama_pro) {
    adapter.target_is_regex = false;
    adapter.target_modules = expanded_module_names(spec, layout, adapter.target_modules, c.freeze_trainable_layers);
  }
  if (c.pissa_init) {
    adapter.init_lora_weights = c.pissa_iter == -1 ? "pissa" : fmt::format("pissa_niter_{}", c.pissa_iter);
  }
  return adapter;
}

void warn_about_unmatched(const ModelLayout& layout, const Tuning& tuning) {
  for (const auto& name : unmatched_targets(layout, tuning.adapter)) {
    log::warning("lora_target: no module of the model is called '{}'", name);
  }
}

}  // namespace

std::vector<std::filesystem::path> adapter_folders(const RunConfig& config) {
  std::vector<std::filesystem::path> folders;
  for (const auto& name : config.adapter_name_or_path) {
    const std::filesystem::path path = name;
    folders.push_back(config.adapter_folder ? path / *config.adapter_folder : path);
  }
  return folders;
}

TuningSetup open_tuning(const RunConfig& c, const ModelSpec& spec) {
  TuningSetup setup;
  if (c.finetuning_type == "full") return setup;
  if (c.finetuning_type == "freeze") {
    setup.tuning.kind = TuningKind::freeze;
    setup.tuning.freeze = {c.freeze_trainable_layers, c.freeze_trainable_modules, c.freeze_extra_modules,
                           c.use_llama_pro};
    (void)make_tuned_layout(spec, setup.tuning);  // says what is wrong before anything is read
    return setup;
  }
  setup.tuning.kind = TuningKind::lora;
  setup.merged = adapter_folders(c);
  if (!setup.merged.empty() && !c.create_new_adapter) {
    setup.adapter = setup.merged.back();
    setup.merged.pop_back();
  }
  setup.tuning.adapter = setup.adapter.empty() ? new_adapter(c, spec) : AdapterFolder::open(setup.adapter).config();
  setup.tuning.adapter.base_model_name_or_path = c.model_name_or_path;
  const ModelLayout layout = make_tuned_layout(tuned_spec(spec, setup.tuning), setup.tuning);
  warn_about_unmatched(layout, setup.tuning);
  setup.tuning.adapter.fan_in_fan_out =
      std::any_of(layout.adapters.begin(), layout.adapters.end(),
                  [](const AdapterLayout& adapter) { return adapter.transposed && !adapter.lookup; });
  return setup;
}

TuningSetup setup_tuning(Communicator& comm, const RunConfig& config, const ModelSpec& spec) {
  TuningSetup setup;
  const std::string text = on_rank0(comm, "open the adapters", [&] {
    setup = open_tuning(config, spec);
    return setup.tuning.kind == TuningKind::lora ? adapter_config_json(setup.tuning.adapter) : std::string();
  });
  if (comm.rank() == 0) return setup;
  if (text.empty()) return open_tuning(config, spec);
  setup.tuning.kind = TuningKind::lora;
  setup.tuning.adapter = parse_adapter_config(text, "adapter configuration of rank 0");
  return setup;
}

std::function<double(const std::string& name, const std::vector<std::int64_t>& shape)> lr_factors(
    const RunConfig& config) {
  if (config.finetuning_type != "lora" || !config.loraplus_lr_ratio) return {};
  const double of_lookups =
      config.learning_rate > 0 ? config.loraplus_lr_embedding / config.learning_rate : 0.0;  // a rate of its own
  return
      [ratio = *config.loraplus_lr_ratio, of_lookups](const std::string& name, const std::vector<std::int64_t>& shape) {
        if (name.ends_with(lookup_b_suffix)) return of_lookups;
        return name.find(".lora_B.") != std::string::npos || shape.size() == 1 ? ratio : 1.0;
      };
}

}  // namespace dstrain
