// SPDX-License-Identifier: Apache-2.0
/// DeepSpeed's file: batch, precision, optimizer, schedule, reduction.
#include "config/key_schema.hpp"

namespace dstrain::keys {
namespace {
constexpr std::string_view kFp32Sums = "gradients are always summed in fp32, which is at least as exact";
constexpr std::string_view kFp32Mean = "the mean is taken in fp32, where neither order overflows";
constexpr std::string_view kFloatTypes = "fp32|fp16|bf16|float32|float16|bfloat16|float|half";
constexpr std::string_view kBits = "weights keep fp32 masters and moments; leave it out";
constexpr std::string_view kFp16 = "fp16, deepspeed_fp16";
}  // namespace

std::vector<KeySpec> deepspeed_engine() {
  using enum ValueType;
  return {
      becomes("train_batch_size", integer, "null", "Rows of an update over all ranks",
              "per_device_train_batch_size and gradient_accumulation_steps, as far as they are open; else it must be "
              "their product with the ranks"),
      becomes("train_micro_batch_size_per_gpu", integer, "null", "Rows of a micro-batch on each rank",
              "per_device_train_batch_size"),
      becomes("gradient_accumulation_steps", integer, "null", "Micro-batches of each rank per update",
              "gradient_accumulation_steps"),
      becomes("gradient_clipping", number, "0.0", "Gradients are clipped to this global norm; 0: not clipped",
              "max_grad_norm"),
      becomes("optimizer", any, "null", "{type, params}: Adam, AdamW, Lamb, Lion, Adagrad, SGD, RMSprop",
              "optim, learning_rate, adam_beta1, adam_beta2, adam_epsilon, weight_decay, deepspeed_optimizer"),
      becomes("scheduler", any, "null",
              "{type, params}: WarmupLR, WarmupDecayLR, WarmupCosineLR, OneCycle, LRRangeTest", "deepspeed_scheduler"),
      becomes("dataloader_drop_last", boolean, "false", "Drop the incomplete last batch of an epoch",
              "dataloader_drop_last"),

      becomes("fp16.enabled", boolean, "false", "float16 with loss scaling", kFp16),
      becomes("fp16.auto_cast", boolean, "false", "Cast float inputs; token ids need none", kFp16),
      becomes("fp16.loss_scale", number, "0", "Fixed scale; 0: it adapts", kFp16),
      becomes("fp16.initial_scale_power", integer, "16", "The first scale is 2 to this power", kFp16),
      becomes("fp16.loss_scale_window", integer, "1000", "Good steps before the scale doubles", kFp16),
      becomes("fp16.hysteresis", integer, "2", "Overflows before the scale halves", kFp16),
      becomes("fp16.consecutive_hysteresis", boolean, "false", "A good step restores the hysteresis", kFp16),
      becomes("fp16.min_loss_scale", number, "1", "Smallest scale", kFp16),
      refused("fp16.fp16_master_weights_and_grads", boolean, "false", "Masters in float16", kBits),
      noted("fp16.fused_optimizer", boolean, "false", "Kernel of the optimizer (gdGPT)",
            "the update is one pass in any case"),
      becomes("bf16.enabled", boolean, "false", "bfloat16 with fp32 master weights", "bf16"),
      becomes("bfloat16.enabled", boolean, "false", "Old name of bf16.enabled", "bf16"),
      noted("bf16.immediate_grad_update", boolean, "false", "When gradients are copied",
            "gradients are fp32 from the start"),
      noted("bf16.check_grad_overflow", boolean, "true", "Look for gradients that are not finite",
            "they are looked for in every step"),
      refused("bf16.bf16_master_weights_and_grads", boolean, "false", "Masters in bfloat16", kBits),
      refused("bf16.bf16_optimizer_states", boolean, "false", "Moments in bfloat16", kBits),
      refused("amp.enabled", boolean, "false", "apex", "use fp16 or bf16"),
      noted("amp.*", any, "null", "apex", "only read with amp.enabled, which is refused"),
      refused("torch_autocast.enabled", boolean, "false", "torch's autocast", "use bf16 or fp16"),
      noted("torch_autocast.*", any, "null", "torch's autocast",
            "only read with torch_autocast.enabled, which is refused"),

      noted("communication_data_type", text, "null", "Type that gradients are sent in", kFp32Sums).choices(kFloatTypes),
      noted("data_types.grad_accum_dtype", text, "null", "Type that gradients are added up in", kFp32Sums)
          .choices(kFloatTypes),
      noted("seq_parallel_communication_data_type", text, "fp32", "Type of sequence parallelism",
            "there is no sequence parallelism")
          .choices(kFloatTypes),
      noted("prescale_gradients", boolean, "false", "Divide before the reduction", kFp32Mean),
      noted("gradient_predivide_factor", number, "1.0", "Divide by this before the reduction and by the rest after",
            kFp32Mean),
      refused("sparse_gradients", boolean, "false", "Embedding gradients as lists of rows",
              "leave it out; gradients are dense here"),
      noted("disable_allgather", boolean, "false", "How weights come together",
            "the ranks' collectives are chosen here"),

      becomes("steps_per_print", number, "null", "Updates between two lines of the breakdowns", "steps_per_print"),
      becomes("wall_clock_breakdown", boolean, "false", "Times of forward, backward and update",
              "wall_clock_breakdown"),
      becomes("memory_breakdown", boolean, "false", "Memory of each phase", "memory_breakdown"),
      becomes("dump_state", boolean, "false", "Print the configuration", "dump_state"),
      noted("zero_allow_untested_optimizer", boolean, "false", "Optimizers other than DeepSpeed's",
            "every optimizer here runs with every stage"),
      noted("zero_force_ds_cpu_optimizer", boolean, "true", "Which Adam runs with offload",
            "there is one, and it runs with every stage"),
      noted("graph_harvesting", boolean, "false", "CUDA graphs", "it changes no result"),
      noted("use_data_before_expert_parallelism", boolean, "false", "Mixtures of experts",
            "such models cannot be trained here"),
      noted("use_data_before_expert_parallel_", boolean, "false", "Mixtures of experts",
            "such models cannot be trained here"),
      noted("vocabulary_size", integer, "null", "Size of the vocabulary", "the model's config.json says it"),
      noted("log_level", text, "null", "How much DeepSpeed says", "notes, warnings and errors are always said"),
      noted("disable_python_gc", boolean, "false", "Python's memory", "there is no Python"),
      noted("cuda_visible_devices", any, "null", "Devices (left by some examples)", "the environment variable counts"),
      noted("_comment", any, "null", "A remark (LLaMA-Factory's files)", "it is a remark"),
  };
}

}  // namespace dstrain::keys
