// SPDX-License-Identifier: Apache-2.0
/// LLaMA-Factory's FinetuningArguments of other optimizers and loggers.
#include "config/key_schema.hpp"

namespace dstrain::keys {
namespace {
constexpr std::string_view kNotPlanned = "leave it out and use AdamW with ZeRO";
constexpr std::string_view kUseAdamW = "not supported yet; leave it out and use AdamW with ZeRO";
constexpr std::string_view kGalore = "only read with use_galore, which is refused";
constexpr std::string_view kApollo = "only read with use_apollo, which is refused";
constexpr std::string_view kBadam = "only read with use_badam, which is refused";
constexpr std::string_view kNoTracker = "nothing is sent over the network; trainer_log.jsonl holds every logging step";
constexpr std::string_view kTextModels = "text only";
}  // namespace

std::vector<KeySpec> finetuning_methods() {
  using enum ValueType;
  return {
      runs("pure_bf16", &RunConfig::pure_bf16,
           "Weights, gradients and AdamW's moments in bf16, without fp32 masters; checkpoints are written between "
           "steps"),
      refused("use_galore", boolean, "false", "GaLore", kNotPlanned),
      noted("galore_target", list, "all", "GaLore", kGalore),
      noted("galore_rank", integer, "16", "GaLore", kGalore),
      noted("galore_update_interval", integer, "200", "GaLore", kGalore),
      noted("galore_scale", number, "2.0", "GaLore", kGalore),
      noted("galore_proj_type", text, "std", "GaLore", kGalore),
      noted("galore_layerwise", boolean, "false", "GaLore", kGalore),
      refused("use_apollo", boolean, "false", "APOLLO", kNotPlanned),
      noted("apollo_target", list, "all", "APOLLO", kApollo),
      noted("apollo_rank", integer, "16", "APOLLO", kApollo),
      noted("apollo_update_interval", integer, "200", "APOLLO", kApollo),
      noted("apollo_scale", number, "32.0", "APOLLO", kApollo),
      noted("apollo_proj", text, "random", "APOLLO", kApollo),
      noted("apollo_proj_type", text, "std", "APOLLO", kApollo),
      noted("apollo_scale_type", text, "channel", "APOLLO", kApollo),
      noted("apollo_layerwise", boolean, "false", "APOLLO", kApollo),
      noted("apollo_scale_front", boolean, "false", "APOLLO", kApollo),
      refused("use_badam", boolean, "false", "BAdam", kNotPlanned),
      noted("badam_mode", text, "layer", "BAdam", kBadam),
      noted("badam_start_block", integer, "null", "BAdam", kBadam),
      noted("badam_switch_mode", text, "ascending", "BAdam", kBadam),
      noted("badam_switch_interval", integer, "50", "BAdam", kBadam),
      noted("badam_update_ratio", number, "0.05", "BAdam", kBadam),
      noted("badam_mask_mode", text, "adjacent", "BAdam", kBadam),
      noted("badam_verbose", integer, "0", "BAdam", kBadam),
      refused("use_adam_mini", boolean, "false", "Adam-mini", kUseAdamW),
      runs("use_muon", &RunConfig::use_muon,
           "Muon on hidden matrices, AdamW on the rest, as LLaMA-Factory builds it; instead of optim"),
      noted("use_swanlab", boolean, "false", "SwanLab", kNoTracker),
      noted("swanlab_project", text, "llamafactory", "SwanLab", kNoTracker),
      noted("swanlab_workspace", text, "null", "SwanLab", kNoTracker),
      noted("swanlab_run_name", text, "null", "SwanLab", kNoTracker),
      noted("swanlab_mode", text, "cloud", "SwanLab", kNoTracker),
      noted("swanlab_api_key", text, "null", "SwanLab password, never printed", kNoTracker),
      noted("swanlab_logdir", text, "null", "SwanLab", kNoTracker),
      noted("swanlab_lark_webhook_url", text, "null", "SwanLab", kNoTracker),
      noted("swanlab_lark_secret", text, "null", "SwanLab password, never printed", kNoTracker),
      noted("freeze_vision_tower", boolean, "true", "Images", kTextModels),
      noted("freeze_multi_modal_projector", boolean, "true", "Images", kTextModels),
      noted("freeze_language_model", boolean, "false", "Images", kTextModels),
  };
}

}  // namespace dstrain::keys
