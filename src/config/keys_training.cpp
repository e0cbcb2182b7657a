// SPDX-License-Identifier: Apache-2.0
/// transformers' Seq2SeqTrainingArguments: steps, optimizer, schedule, precision, data order.
#include "config/key_schema.hpp"

namespace dstrain::keys {
namespace {
constexpr std::string_view kOldBatch = "use per_device_train_batch_size";
constexpr std::string_view kOptimizers =
    "adamw_torch|adamw_torch_fused|adamw_hf|adamw_apex_fused|adamw_torch_xla|adamw_torch_npu_fused|paged_adamw_32bit|"
    "adamw_8bit|adamw_bnb_8bit|paged_adamw_8bit|adafactor|sgd|adagrad|rmsprop|rmsprop_bnb|rmsprop_bnb_32bit|lion_32bit|"
    "paged_lion_32bit|lion_8bit|paged_lion_8bit|lamb";
constexpr std::string_view kOtherOptimizers =
    "ademamix|ademamix_8bit|paged_ademamix_32bit|paged_ademamix_8bit|galore_adamw|galore_adamw_8bit|galore_adafactor|"
    "apollo_adamw|lomo|adalomo|grokadamw|stable_adamw|schedule_free_adamw|schedule_free_sgd|schedule_free_radam|"
    "rmsprop_bnb_8bit|adamw_anyprecision|adamw_torch_4bit|adamw_torch_8bit";
constexpr std::string_view kSchedules =
    "linear|cosine|cosine_with_restarts|polynomial|constant|constant_with_warmup|inverse_sqrt|reduce_lr_on_plateau|"
    "cosine_with_min_lr|cosine_warmup_with_min_lr|warmup_stable_decay";
}  // namespace

std::vector<KeySpec> training() {
  using C = RunConfig;
  using enum ValueType;
  return {
      runs("do_train", &C::do_train, "Train; `dstrain train` does so in any case"),
      runs("per_device_train_batch_size", &C::per_device_train_batch_size, "Rows of a micro-batch on each rank"),
      runs("gradient_accumulation_steps", &C::gradient_accumulation_steps, "Micro-batches of each rank per update"),
      runs("learning_rate", &C::learning_rate, "Largest learning rate of the schedule"),
      runs("weight_decay", &C::weight_decay,
           "Weight decay as the optimizer applies it; names with bias, layernorm or rmsnorm are left out"),
      runs("adam_beta1", &C::adam_beta1, "Decay of the first moment"),
      runs("adam_beta2", &C::adam_beta2, "Decay of the second moment"),
      runs("adam_epsilon", &C::adam_epsilon, "Added to the root of the second moment"),
      runs("max_grad_norm", &C::max_grad_norm, "Gradients are clipped to this global norm; 0: not clipped"),
      runs("num_train_epochs", &C::num_train_epochs, "Passes over the data; fractions allowed"),
      runs("max_steps", &C::max_steps, "Updates; > 0 overrides num_train_epochs"),
      runs("lr_scheduler_type", &C::lr_scheduler_type, "How the learning rate changes")
          .choices(kSchedules)
          .not_yet("greedy", "use reduce_lr_on_plateau"),
      runs("lr_scheduler_kwargs", &C::lr_scheduler_kwargs,
           "Parameters of the schedule by name, a mapping or its JSON: num_cycles, min_lr, min_lr_rate, lr_end, power, "
           "timescale, num_stable_steps, num_decay_steps, ..."),
      runs("warmup_ratio", &C::warmup_ratio,
           "Share of the updates with a rising learning rate; unused where warmup_steps > 0"),
      runs("warmup_steps", &C::warmup_steps,
           "Updates with a rising learning rate; a fraction below 1 is taken as warmup_ratio"),
      runs("optim", &C::optim,
           "Optimizer; fused, apex, hf and paged AdamW are the same AdamW, the other paged ones as without the word; "
           "lamb "
           "is DeepSpeed's")
          .choices(kOptimizers)
          .not_yet(kOtherOptimizers, "use adamw_torch"),
      runs("optim_args", &C::optim_args,
           "name=value,name=value: momentum, dampening, nesterov (sgd), lr_decay, eps (adagrad), momentum, alpha, eps, "
           "centered (rmsprop)"),
      refused("optim_target_modules", any, "null", "Modules of GaLore and APOLLO", "leave it out; use AdamW with ZeRO"),
      refused("adafactor", boolean, "false", "Old name of optim: adafactor", "use optim: adafactor"),
      runs("bf16", &C::bf16, "bfloat16 with fp32 master weights"),
      runs("fp16", &C::fp16,
           "float16 with fp32 master weights and loss scaling (torch's rule, DeepSpeed's with its file)"),
      runs("bf16_full_eval", &C::bf16_full_eval, "Evaluate in bfloat16, where a run only evaluates or predicts"),
      runs("fp16_full_eval", &C::fp16_full_eval, "Evaluate in float16, where a run only evaluates or predicts"),
      noted("tf32", boolean, "null", "Shorter products on CUDA", "there are none on a CPU; fp32 stays fp32"),
      runs("use_cpu", &C::use_cpu, "Run on the CPU; the same as device: cpu"),
      runs("seed", &C::seed, "Seed of weights, dropout and, without data_seed, the order of rows"),
      runs("data_seed", &C::data_seed, "Seed of the order of rows. Empty: seed"),
      runs("dataloader_drop_last", &C::dataloader_drop_last,
           "Drop the incomplete last batch of an epoch instead of filling it up"),
      runs("average_tokens_across_devices", &C::average_tokens_across_devices,
           "The loss is divided by the labels of the whole global batch; false: each rank by its own"),
      runs("ddp_timeout", &C::ddp_timeout, "Seconds after which a collective that does not end stops the run"),
      runs("group_by_length", &C::group_by_length,
           "Batches of like lengths: the epoch's order is sorted by length within 50 updates' rows, longest first. "
           "Nothing is saved by it here: rows are not padded"),
      noted("length_column_name", text, "length", "Column for group_by_length", "lengths are known"),
      runs("label_smoothing_factor", &C::label_smoothing_factor,
           "Share of the loss that is the mean over the vocabulary of -log p, in training and evaluation"),
      runs("neftune_noise_alpha", &C::neftune_noise_alpha,
           "Noise on embeddings in training (NEFTune); 0 or null: none"),
      refused("accelerator_config", any, "null", "accelerate's data loader",
              "split_batches runs; else the order of rows is that of accelerate's defaults: leave out what differs")
          .off("{}"),
      refused("fsdp", any, "\"\"", "Fully sharded data parallel", "use zero_stage: 3, which shards the same")
          .off("null|false"),
      refused("fsdp_config", any, "null", "Fully sharded data parallel", "use zero_stage: 3, which shards the same")
          .off("{}"),
      noted("fsdp_min_num_params", integer, "0", "Fully sharded data parallel",
            "only read with fsdp, which is refused"),
      noted("fsdp_transformer_layer_cls_to_wrap", text, "null", "Fully sharded data parallel",
            "only read with fsdp, which is refused"),
      refused("auto_find_batch_size", boolean, "false", "Halve the batch when memory ends",
              "`dstrain plan` says beforehand what fits"),
      refused("per_gpu_train_batch_size", integer, "null", "Old name", kOldBatch),
      refused("per_gpu_eval_batch_size", integer, "null", "Old name", "not supported yet; leave it out"),
      refused("use_mps_device", boolean, "false", "Apple's GPUs", "CPU and CUDA only"),
      refused("tpu_num_cores", integer, "null", "TPUs", "CPU and CUDA only"),
      refused("tpu_metrics_debug", boolean, "false", "TPUs", "CPU and CUDA only"),
      refused("past_index", integer, "-1", "States carried between batches",
              "leave it out; such models cannot be trained here"),
  };
}

}  // namespace dstrain::keys
