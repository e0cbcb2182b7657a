// SPDX-License-Identifier: Apache-2.0
/// transformers' Seq2SeqTrainingArguments that choose how torch works: accepted, without effect.
#include "config/key_schema.hpp"

namespace dstrain::keys {
namespace {
constexpr std::string_view kTorch = "dstrain is not torch";
constexpr std::string_view kNoLoaderProcess = "rows are tokens in memory; there are no loader processes";
constexpr std::string_view kNoColumns = "rows have no columns to choose from";
}  // namespace

std::vector<KeySpec> training_unused() {
  using enum ValueType;
  return {
      noted("gradient_checkpointing", boolean, "false", "Activation checkpointing",
            "it is on unless disable_gradient_checkpointing says otherwise"),
      noted("gradient_checkpointing_kwargs", any, "null", "Activation checkpointing in torch", kTorch),
      noted("local_rank", integer, "-1", "Rank on the node, put there by launchers", "MPI says it"),
      noted("ddp_backend", text, "null", "Communication library", "MPI on CPUs, NCCL on GPUs"),
      noted("ddp_find_unused_parameters", boolean, "null", "torch's DistributedDataParallel", kTorch),
      runs("ddp_bucket_cap_mb", &RunConfig::ddp_bucket_cap_mb,
           "Gradient buckets of so many MiB of fp32, where reduce_bucket_size is not said"),
      noted("ddp_broadcast_buffers", boolean, "null", "torch's DistributedDataParallel", kTorch),
      noted("dataloader_num_workers", integer, "0", "Loader processes", kNoLoaderProcess),
      noted("dataloader_prefetch_factor", integer, "null", "Loader processes", kNoLoaderProcess),
      noted("dataloader_pin_memory", boolean, "true", "Loader processes", kNoLoaderProcess),
      noted("dataloader_persistent_workers", boolean, "false", "Loader processes", kNoLoaderProcess),
      noted("remove_unused_columns", boolean, "true", "Columns", kNoColumns),
      noted("label_names", list, "null", "Columns", kNoColumns),
      noted("torch_empty_cache_steps", integer, "null", "torch's allocator", kTorch),
      noted("restore_callback_states_from_checkpoint", boolean, "false", "Callbacks", "there are no callbacks"),
      noted("jit_mode_eval", boolean, "false", "torch's compiler", kTorch),
      noted("use_ipex", boolean, "false", "Intel's extension of torch", kTorch),
      noted("fp16_opt_level", text, "O1", "apex", kTorch),
      noted("half_precision_backend", text, "auto", "apex", kTorch),
      noted("fp16_backend", text, "auto", "apex", kTorch),
      noted("debug", any, "\"\"", "Debugging aids of transformers", kTorch),
      noted("skip_memory_metrics", boolean, "true", "Memory of each phase", "`dstrain plan` prints it beforehand"),
      noted("use_legacy_prediction_loop", boolean, "false", "Evaluation", "rows are evaluated in their order"),
      noted("mp_parameters", text, "\"\"", "SageMaker", kTorch),
      noted("torchdynamo", text, "null", "torch's compiler", kTorch),
      noted("torch_compile", boolean, "false", "torch's compiler", kTorch),
      noted("torch_compile_backend", text, "null", "torch's compiler", kTorch),
      noted("torch_compile_mode", text, "null", "torch's compiler", kTorch),
      noted("use_liger_kernel", boolean, "false", "Other kernels", "dstrain uses its own; the loss is the same"),
      noted("sortish_sampler", boolean, "false", "Order during evaluation", "rows are evaluated in their order"),
      noted("ray_scope", text, "last", "Hyperparameter search with Ray", "there is no Ray"),
  };
}

}  // namespace dstrain::keys
