// SPDX-License-Identifier: Apache-2.0
/// Keys of Ray, of newer and older LLaMA-Factory versions, and of other launchers.
#include "config/key_schema.hpp"

namespace dstrain::keys {
namespace {
constexpr std::string_view kNoRay = "there is no Ray; mpirun or srun place the ranks";
constexpr std::string_view kOft = "only read with finetuning_type: oft, which is refused";
constexpr std::string_view kNoKt = "leave it out";
constexpr std::string_view kKtOnly = "only read with use_kt, which is refused";
}  // namespace

std::vector<KeySpec> other() {
  using enum ValueType;
  return {
      refused("ray_run_name", text, "null", "Ray", kNoRay),
      refused("ray_storage_path", text, "./saves", "Ray", kNoRay),
      refused("ray_storage_filesystem", text, "null", "Ray", kNoRay),
      refused("ray_num_workers", integer, "1", "Ray", kNoRay),
      noted("resources_per_worker", any, "{GPU: 1}", "Ray", kNoRay),
      noted("placement_strategy", text, "PACK", "Ray", kNoRay),
      refused("ray_init_kwargs", any, "null", "Ray", kNoRay).off("{}"),
      noted("use_kv_cache", boolean, "true", "Key-value cache (0.9.5's use_cache)", "training runs without one"),
      noted("use_v1_kernels", boolean, "false", "Other kernels", "dstrain uses its own; the loss is the same"),
      runs("new_special_tokens_config", &RunConfig::new_special_tokens_config,
           "YAML file of token: description; its tokens take the place of add_special_tokens")
          .path(),
      refused("init_special_tokens", text, "noise_init", "How added tokens start",
              "leave it out: they start as the mean of the old ones and noise; descriptions are not read"),
      runs("preserve_thinking", &RunConfig::preserve_thinking,
           "Keep the thoughts of earlier answers where a prompt is made of them"),
      refused("use_kt", boolean, "false", "KTransformers", kNoKt),
      noted("kt_optimize_rule", text, "null", "KTransformers", kKtOnly),
      noted("kt_maxlen", integer, "4096", "KTransformers", kKtOnly),
      noted("kt_use_cuda_graph", boolean, "true", "KTransformers", kKtOnly),
      noted("kt_mode", text, "normal", "KTransformers", kKtOnly),
      noted("kt_force_think", boolean, "false", "KTransformers", kKtOnly),
      noted("oft_rank", integer, "0", "OFT", kOft),
      noted("oft_block_size", integer, "32", "OFT", kOft),
      noted("oft_target", list, "all", "OFT", kOft),
      noted("module_dropout", number, "0.0", "OFT", kOft),
      refused("use_mca", boolean, "false", "Megatron core adapter", "use zero_stage"),
      refused("use_hyper_parallel", boolean, "false", "Another trainer", "use zero_stage"),
      refused("hyper_parallel_args", any, "null", "Another trainer", "use zero_stage"),
      runs("use_dft_loss", &RunConfig::use_dft_loss,
           "Each token's loss times its probability, which counts as a constant (sft)"),
      refused("use_asft_loss", boolean, "false", "Anchored supervised fine-tuning",
              "it needs a second, frozen model; use use_dft_loss, its other half"),
      noted("asft_alpha", number, "0.1", "Anchored supervised fine-tuning",
            "only read with use_asft_loss, which is refused"),
      runs("use_eaft_loss", &RunConfig::use_eaft_loss,
           "Each token's loss times the entropy of its 20 likeliest tokens over 3, to the power eaft_alpha (sft)"),
      runs("eaft_alpha", &RunConfig::eaft_alpha, "Power in use_eaft_loss"),
      refused("split", text, "train", "Split of the dataset (2023)", "say it as \"split\" in dataset_info.json"),
      refused("config_file", text, "null", "accelerate's YAML", "give it as a flag: --config_file FILE"),
  };
}

}  // namespace dstrain::keys
