// SPDX-License-Identifier: Apache-2.0
/// DeepSpeed's file: profilers, monitors, checkpoints, and the sections of other engines.
#include "config/key_schema.hpp"

namespace dstrain::keys {
namespace {
constexpr std::string_view kOwnCheckpointing = "disable_gradient_checkpointing is the key for it";
constexpr std::string_view kHost = "on CPUs activations lie in host memory already";
constexpr std::string_view kProfile = "trainer_log.jsonl has tokens_per_second, `dstrain plan` the memory";
constexpr std::string_view kLog = "trainer_log.jsonl holds the same numbers";
constexpr std::string_view kNoNetwork = "nothing is sent over the network; trainer_log.jsonl holds the same numbers";
constexpr std::string_view kAllCalls = "with comms_logger.enabled every collective is counted, and told at the end";
constexpr std::string_view kNoDisk = "nothing is offloaded to a disk";
}  // namespace

std::vector<KeySpec> deepspeed_sections() {
  using enum ValueType;
  return {
      noted("activation_checkpointing.partition_activations", boolean, "false", "Shard activations", kOwnCheckpointing),
      noted("activation_checkpointing.cpu_checkpointing", boolean, "false", "Offload activations", kHost),
      noted("activation_checkpointing.contiguous_memory_optimization", boolean, "false", "Buffers", kOwnCheckpointing),
      noted("activation_checkpointing.number_checkpoints", integer, "null", "How many", kOwnCheckpointing),
      noted("activation_checkpointing.synchronize_checkpoint_boundary", boolean, "false", "Timing", kOwnCheckpointing),
      noted("activation_checkpointing.profile", boolean, "false", "Timing", kOwnCheckpointing),

      becomes("flops_profiler.enabled", boolean, "false", "Print a table of parameters, FLOPs and times",
              "flops_profiler_step, wall_clock_breakdown"),
      noted("flops_profiler.recompute_fwd_factor", number, "0.0", "Share that is computed twice",
            "the plan of this run says what is computed again"),
      becomes("flops_profiler.profile_step", integer, "1", "When", "flops_profiler_step"),
      becomes("flops_profiler.module_depth", integer, "-1", "How deep", "flops_profiler_depth"),
      noted("flops_profiler.top_modules", integer, "1", "How many", "all modules of a depth are listed"),
      becomes("flops_profiler.detailed", boolean, "true", "A line for each module", "flops_profiler_detailed"),
      becomes("flops_profiler.output_file", text, "null", "Where", "flops_profiler_file"),

      becomes("tensorboard.enabled", boolean, "false", "DeepSpeed's TensorBoard file", "tensorboard_monitor"),
      becomes("tensorboard.output_path", text, "\"\"", "Folder", "tensorboard_monitor"),
      becomes("tensorboard.job_name", text, "DeepSpeedJobName", "Folder in it", "tensorboard_monitor"),
      becomes("csv_monitor.enabled", boolean, "false", "One CSV file per number", "csv_monitor"),
      becomes("csv_monitor.output_path", text, "\"\"", "Folder", "csv_monitor"),
      becomes("csv_monitor.job_name", text, "DeepSpeedJobName", "Folder in it", "csv_monitor"),
      noted("wandb.enabled", boolean, "false", "Weights & Biases", kNoNetwork),
      noted("wandb.group", text, "null", "Weights & Biases", kNoNetwork),
      noted("wandb.team", text, "null", "Weights & Biases", kNoNetwork),
      noted("wandb.project", text, "deepspeed", "Weights & Biases", kNoNetwork),
      noted("comet.enabled", boolean, "false", "Comet", kNoNetwork),
      noted("comet.*", any, "null", "Comet", kNoNetwork),
      noted("monitor_config.*", any, "null", "Monitors (LLaMA-Factory's fp8 file)", kLog),

      becomes("comms_logger.enabled", boolean, "false", "Count collectives", "comms_logger"),
      noted("comms_logger.verbose", boolean, "false", "A line for each call", kAllCalls),
      noted("comms_logger.prof_all", boolean, "true", "Which are counted", kAllCalls),
      noted("comms_logger.debug", boolean, "false", "With the caller's name", "each call has a name in the table"),
      noted("comms_logger.prof_ops", list, "[]", "Which are counted", kAllCalls),
      noted("comms_config.*", any, "null", "Count collectives (LLaMA-Factory's fp8 file)", kAllCalls),
      noted("timers.throughput.enabled", boolean, "true", "Measure tokens per second", kProfile),
      noted("timers.throughput.synchronized", boolean, "true", "Measure tokens per second", kProfile),

      noted("checkpoint.tag_validation", text, "Warn", "Whether all ranks name a checkpoint alike",
            "they do: rank 0 names it")
          .choices("Ignore|Warn|Fail|IGNORE|WARN|FAIL|ignore|warn|fail"),
      noted("checkpoint.load_universal", boolean, "false", "Checkpoints of another number of ranks",
            "every checkpoint loads on any number of ranks"),
      refused("checkpoint.use_node_local_storage", boolean, "false", "Every node keeps its own part",
              "use checkpoint_writers: single where other hosts do not see output_dir"),
      noted("checkpoint.parallel_write.pipeline_stage", boolean, "false", "Who writes", "every rank writes its part"),
      noted("checkpoint.writer", any, "null", "How files are written", "every rank writes its part"),

      noted("aio.block_size", integer, "1048576", "Disk", kNoDisk),
      noted("aio.queue_depth", integer, "8", "Disk", kNoDisk),
      noted("aio.intra_op_parallelism", integer, "1", "Disk", kNoDisk),
      noted("aio.thread_count", integer, "1", "Disk", kNoDisk),
      noted("aio.single_submit", boolean, "false", "Disk", kNoDisk),
      noted("aio.overlap_events", boolean, "true", "Disk", kNoDisk),
      noted("aio.use_gds", boolean, "false", "Disk", kNoDisk),
  };
}

std::vector<KeySpec> deepspeed_unused() {
  using enum ValueType;
  constexpr std::string_view kNever = "leave it out; dstrain has nothing like it";
  constexpr std::string_view kOffOnly = "only read where the section is enabled, which is refused";
  return {
      refused("elasticity.enabled", boolean, "false", "Choose the batch for many numbers of ranks",
              "any number of ranks can resume a checkpoint; keep the batch with virtual_ranks"),
      noted("elasticity.max_train_batch_size", integer, "2000", "Elasticity", kOffOnly),
      noted("elasticity.micro_batch_sizes", any, "[2, 4, 6]", "Elasticity", kOffOnly),
      noted("elasticity.min_gpus", integer, "1", "Elasticity", kOffOnly),
      noted("elasticity.max_gpus", integer, "10000", "Elasticity", kOffOnly),
      noted("elasticity.num_gpus_per_node", integer, "1", "Elasticity", kOffOnly),
      noted("elasticity.model_parallel_size", integer, "1", "Elasticity", kOffOnly),
      noted("elasticity.min_time", integer, "0", "Elasticity", kOffOnly),
      noted("elasticity.prefer_larger_batch", boolean, "true", "Elasticity", kOffOnly),
      noted("elasticity.ignore_non_elastic_batch_info", boolean, "false", "Elasticity", kOffOnly),
      noted("elasticity.version", number, "0.2", "Elasticity", kOffOnly),
      refused("tensor_parallel.autotp_size", integer, "0", "Ranks that share a layer's matrices",
              "not supported yet; use zero_optimization.stage: 3")
          .off("1"),
      noted("tensor_parallel.*", any, "null", "Tensor parallelism", kOffOnly),
      refused("pipeline.stages", any, "auto", "Ranks that share the layers one after the other",
              "not supported yet; use zero_optimization.stage: 3")
          .off("1|null"),
      noted("pipeline.*", any, "null", "Pipeline", "there is no pipeline"),
      refused("hybrid_engine.enabled", boolean, "false", "Generation inside training", kNever),
      noted("hybrid_engine.max_out_tokens", integer, "512", "Generation inside training", kOffOnly),
      noted("hybrid_engine.inference_tp_size", integer, "1", "Generation inside training", kOffOnly),
      noted("hybrid_engine.release_inference_cache", boolean, "false", "Generation inside training", kOffOnly),
      noted("hybrid_engine.pin_parameters", boolean, "true", "Generation inside training", kOffOnly),
      noted("hybrid_engine.tp_gather_partition_size", integer, "8", "Generation inside training", kOffOnly),
      noted("hybrid_engine.enable_cuda_graph", boolean, "false", "Generation inside training", kOffOnly),
      refused("progressive_layer_drop.enabled", boolean, "false", "Leave layers out", kNever),
      noted("progressive_layer_drop.*", any, "null", "Leave layers out", kOffOnly),
      refused("curriculum_learning.enabled", boolean, "false", "Short rows first", kNever),
      noted("curriculum_learning.*", any, "null", "Short rows first", kOffOnly),
      refused("data_efficiency.enabled", boolean, "false", "Choose data while training", kNever),
      noted("data_efficiency.*", any, "null", "Choose data while training", kOffOnly),
      refused("autotuning.enabled", boolean, "false", "Search for the best configuration",
              "`dstrain plan` says what fits"),
      noted("autotuning.*", any, "null", "Search for the best configuration", kOffOnly),
      refused("eigenvalue.enabled", boolean, "false", "Curvature for compression", kNever),
      noted("eigenvalue.*", any, "null", "Curvature for compression", kOffOnly),
      refused("nebula.enabled", boolean, "false", "A checkpoint service", kNever),
      noted("nebula.*", any, "null", "A checkpoint service", kOffOnly),
      refused("datastates_ckpt", any, "null", "A checkpoint service", kNever).off("{}"),
      refused("compile.deepcompile", boolean, "false", "DeepSpeed's compiler", kNever),
      noted("compile.*", any, "null", "torch's compiler", "dstrain is not torch"),
      refused("compression_training", any, "null", "Quantisation and pruning while training", kNever).off("{}"),
      refused("quantize_training", any, "null", "Quantisation while training", kNever).off("{}"),
      refused("weight_quantization", any, "null", "Quantised weights", kNever).off("{}"),
      refused("sparse_attention", any, "null", "Sparse attention", "leave it out; attention is exact here").off("{}"),
      refused("gradient_allreduce_op", text, "mean", "sum instead of mean", kNever),
      noted("managed_gradient_accumulation", boolean, "true", "Who counts micro-batches", "the trainer does"),
      refused("ddp_bf16", boolean, "false", "Plain bfloat16 without masters", "use bf16"),
      noted("keep_in_fp32_modules", any, "auto", "Modules kept in fp32", "masters are fp32 for all"),
  };
}

}  // namespace dstrain::keys
