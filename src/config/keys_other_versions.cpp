// SPDX-License-Identifier: Apache-2.0
/// Keys of older and newer transformers and LLaMA-Factory that have no successor under another name.
#include "config/key_schema.hpp"

namespace dstrain::keys {
namespace {
constexpr std::string_view kTextRows = "text only";
constexpr std::string_view kLength = "use cutoff_len, which counts prompt and answer together";
constexpr std::string_view kNoUpload = "nothing is sent over the network";
constexpr std::string_view kNoLoader = "rows are tokens in memory; there are no loader processes";
constexpr std::string_view kAccelerateOrder =
    "the order of rows is that of accelerate's defaults; say it in accelerator_config";
}  // namespace

std::vector<KeySpec> other_versions() {
  using enum ValueType;
  return {
      refused("max_source_length", integer, "null", "Token limit of prompts (2023)", kLength),
      refused("max_target_length", integer, "null", "Token limit of answers (2023)", kLength),
      noted("reserved_label_len", integer, "1", "Tokens kept for the answer (2024)",
            "cutoff_len is shared in today's way, by the lengths of prompt and answer"),
      refused("source_prefix", text, "null", "Text before every prompt (2023)", "use default_system"),
      noted("lora_bias", text, "none", "PEFT's bias", "biases stay frozen, as with none").choices("none"),
      refused("visual_inputs", boolean, "false", "Images (0.8)", kTextRows),
      refused("train_mm_proj_only", boolean, "false", "Images (0.9.0)", kTextRows),
      noted("image_resolution", integer, "512", "Images (0.9.0)", kTextRows),
      noted("video_resolution", integer, "128", "Videos (0.9.0)", kTextRows),
      refused("sharded_ddp", any, "\"\"", "fairscale (transformers before 4.34)",
              "use zero_stage, which shards the same")
          .off("null|false"),
      refused("dispatch_batches", boolean, "null", "accelerate's data loader (transformers before 4.40)",
              kAccelerateOrder),
      refused("split_batches", boolean, "null", "accelerate's data loader (transformers before 4.40)", kAccelerateOrder)
          .off("false"),
      noted("liger_kernel_config", any, "null", "Other kernels (transformers 4.53)",
            "dstrain uses its own; the loss is the same"),
      noted("project", text, "huggingface", "Loggers (transformers 5)", kNoUpload),
      noted("trackio_space_id", text, "trackio", "Loggers (transformers 5)", kNoUpload).off("null"),
      noted("hub_revision", text, "null", "Upload (transformers 4.54)", kNoUpload),
      noted("enable_jit_checkpoint", boolean, "false", "Checkpoint on SIGTERM (transformers 5)",
            "SIGTERM and SIGUSR1 write a checkpoint in any case"),
      refused("parallelism_config", any, "null", "Meshes of ranks (transformers 4.57)", "use zero_stage").off("{}"),
      noted("dataloader_multiprocessing_context", text, "null", "Loader processes (transformers 5)", kNoLoader),
      noted("dataloader_in_order", boolean, "true", "Loader processes (transformers 5)", kNoLoader),
      runs("train_sampling_strategy", &RunConfig::train_sampling_strategy,
           "Order of rows (transformers 5): sequential is disable_shuffling, group_by_length the key of that name")
          .choices("random|sequential|group_by_length"),
      noted("ddp_static_graph", boolean, "null", "torch's DistributedDataParallel (transformers 5)",
            "dstrain is not torch"),
  };
}

}  // namespace dstrain::keys
