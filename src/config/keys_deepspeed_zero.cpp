// SPDX-License-Identifier: Apache-2.0
/// DeepSpeed's file: zero_optimization.
#include "config/key_schema.hpp"

namespace dstrain::keys {
namespace {
constexpr std::string_view kSameNumbers = "it tunes how DeepSpeed communicates; the numbers stay the same";
constexpr std::string_view kUnits = "whole layers are gathered and released one by one";
constexpr std::string_view kHostAlready = "on CPUs everything lies in host memory already";
constexpr std::string_view kNoNvme = "use device: cpu, or shard over more ranks";
constexpr std::string_view kNvmeOnly = "only read with device: nvme, which is refused";
constexpr std::string_view kNotYet = "not supported yet; leave it out: the results stay the same";
constexpr std::string_view kWhole = "the whole model is written at the end in any case";
}  // namespace

std::vector<KeySpec> deepspeed_zero() {
  using enum ValueType;
  return {
      becomes("zero_optimization.stage", integer, "0",
              "0 nothing sharded, 1 optimizer state, 2 + gradients, 3 + parameters", "zero_stage"),
      becomes("zero_optimization.reduce_bucket_size", integer, "5e8",
              "Elements of a gradient bucket; auto: hidden_size squared", "reduce_bucket_size"),
      becomes("zero_optimization.stage3_prefetch_bucket_size", integer, "5e7",
              "Elements gathered ahead; auto: 0.9 * hidden_size squared", "stage3_prefetch_bucket_size"),
      becomes("zero_optimization.prefetch_bucket_size", integer, "5e7", "Second name of stage3_prefetch_bucket_size",
              "stage3_prefetch_bucket_size"),
      noted("zero_optimization.contiguous_gradients", boolean, "true", "Gradients in one buffer", kSameNumbers),
      noted("zero_optimization.reduce_scatter", boolean, "true", "false: all_reduce instead", kSameNumbers),
      noted("zero_optimization.use_multi_rank_bucket_allreduce", boolean, "true", "Reduction of buckets", kSameNumbers),
      noted("zero_optimization.allgather_partitions", boolean, "true", "false: broadcasts instead", kSameNumbers),
      noted("zero_optimization.allgather_bucket_size", integer, "5e8", "Elements gathered at once", kSameNumbers),
      noted("zero_optimization.allgather_size", integer, "5e8", "Old name of allgather_bucket_size", kSameNumbers),
      noted("zero_optimization.overlap_comm", boolean, "null", "Communicate while computing", kSameNumbers),
      noted("zero_optimization.compute_grad_norm", boolean, "true", "Compute the gradient norm",
            "it is computed in every step"),
      noted("zero_optimization.load_from_fp32_weights", boolean, "true", "Masters of a resumed run",
            "masters are read as they were written"),
      noted("zero_optimization.elastic_checkpoint", boolean, "false", "Resume on another number of ranks",
            "every checkpoint does"),
      becomes("zero_optimization.offload_param.device", text, "none", "none, cpu", "offload_param")
          .choices("none|cpu")
          .not_yet("nvme", kNoNvme),
      noted("zero_optimization.offload_param.nvme_path", text, "null", "Folder on a fast disk", kNvmeOnly),
      noted("zero_optimization.offload_param.buffer_count", integer, "5", "Buffers for a disk", kNvmeOnly),
      noted("zero_optimization.offload_param.buffer_size", integer, "1e8", "Buffers for a disk", kNvmeOnly),
      noted("zero_optimization.offload_param.max_in_cpu", integer, "1e9", "Elements kept off the disk", kNvmeOnly),
      noted("zero_optimization.offload_param.pin_memory", boolean, "false", "Page-locked memory", kHostAlready),
      becomes("zero_optimization.offload_optimizer.device", text, "none", "none, cpu", "offload_optimizer")
          .choices("none|cpu")
          .not_yet("nvme", kNoNvme),
      noted("zero_optimization.offload_optimizer.nvme_path", text, "null", "Folder on a fast disk", kNvmeOnly),
      noted("zero_optimization.offload_optimizer.buffer_count", integer, "4", "Buffers for a disk", kNvmeOnly),
      noted("zero_optimization.offload_optimizer.pin_memory", boolean, "false", "Page-locked memory", kHostAlready),
      noted("zero_optimization.offload_optimizer.pipeline_read", boolean, "false", "Read ahead", kNvmeOnly),
      noted("zero_optimization.offload_optimizer.pipeline_write", boolean, "false", "Write behind", kNvmeOnly),
      noted("zero_optimization.offload_optimizer.pipeline", boolean, "false", "Read ahead and write behind", kNvmeOnly),
      noted("zero_optimization.offload_optimizer.fast_init", boolean, "false", "Start with a disk", kNvmeOnly),
      noted("zero_optimization.offload_optimizer.ratio", number, "1.0", "Share that is offloaded", kHostAlready),
      noted("zero_optimization.offload_optimizer.super_offload", boolean, "false", "Kind of offload", kHostAlready),
      noted("zero_optimization.offload_optimizer.cpuadam_cores_perc", number, "0.8", "Cores of the update",
            "threads is the key for it"),
      becomes("zero_optimization.cpu_offload", boolean, "null", "Old form of offload_optimizer: {device: cpu}",
              "offload_optimizer"),
      becomes("zero_optimization.cpu_offload_param", boolean, "null", "Old form of offload_param: {device: cpu}",
              "offload_param"),
      becomes("zero_optimization.cpu_offload_params", boolean, "null", "Old form of offload_param: {device: cpu}",
              "offload_param"),
      noted("zero_optimization.cpu_offload_use_pin_memory", boolean, "null", "Page-locked memory", kHostAlready)
          .off("false"),
      noted("zero_optimization.sub_group_size", integer, "1e9", "Elements updated at once", kSameNumbers),
      noted("zero_optimization.stage3_param_persistence_threshold", integer, "1e5",
            "Parameters up to this size stay whole", kUnits),
      noted("zero_optimization.param_persistence_threshold", integer, "1e5", "Second name of the one above", kUnits),
      noted("zero_optimization.stage3_model_persistence_threshold", integer, "9223372036854775807",
            "Elements that stay whole", kUnits),
      noted("zero_optimization.model_persistence_threshold", integer, "9223372036854775807", "Second name", kUnits),
      noted("zero_optimization.stage3_max_live_parameters", integer, "1e9", "Elements that are whole at a time",
            kUnits),
      noted("zero_optimization.max_live_parameters", integer, "1e9", "Second name", kUnits),
      noted("zero_optimization.stage3_max_reuse_distance", integer, "1e9", "When a parameter is released", kUnits),
      noted("zero_optimization.max_reuse_distance", integer, "1e9", "Second name", kUnits),
      noted("zero_optimization.stage3_gather_16bit_weights_on_model_save", boolean, "false",
            "Write the whole model at the end", kWhole),
      noted("zero_optimization.gather_16bit_weights_on_model_save", boolean, "false", "Second name", kWhole),
      noted("zero_optimization.stage3_gather_fp16_weights_on_model_save", boolean, "false", "Old name", kWhole),
      noted("zero_optimization.stage3_module_granularity_threshold", integer, "0", "Modules gathered as one", kUnits),
      noted("zero_optimization.module_granularity_threshold", integer, "0", "Second name", kUnits),
      noted("zero_optimization.stage3_use_all_reduce_for_fetch_params", boolean, "false", "How parameters are gathered",
            kSameNumbers),
      noted("zero_optimization.stage3_allgather_sequential", boolean, "false", "How parameters are gathered",
            kSameNumbers),
      noted("zero_optimization.allgather_sequential", boolean, "false", "How parameters are gathered", kSameNumbers),
      noted("zero_optimization.ignore_unused_parameters", boolean, "true", "false: an unused parameter is an error",
            "every parameter is used in every step"),
      noted("zero_optimization.legacy_stage1", boolean, "false", "Old implementation", kSameNumbers),
      noted("zero_optimization.round_robin_gradients", boolean, "false", "Order of the slices", kSameNumbers),
      noted("zero_optimization.parameter_alignment", boolean, "false", "Layout of buffers", kSameNumbers),
      refused("zero_optimization.zero_hpz_partition_size", integer, "1", "ZeRO++: second copy within a node", kNotYet)
          .off("0"),
      refused("zero_optimization.zero_quantized_weights", boolean, "false", "ZeRO++: weights sent in 8 bits", kNotYet),
      refused("zero_optimization.zero_quantized_nontrainable_weights", boolean, "false",
              "ZeRO++: frozen weights sent in 8 bits", kNotYet),
      refused("zero_optimization.zero_quantized_gradients", boolean, "false", "ZeRO++: gradients sent in 4 bits",
              kNotYet),
      refused("zero_optimization.zeropp_loco_param", any, "null", "ZeRO++: error feedback", kNotYet).off("{}"),
      refused("zero_optimization.mics_shard_size", integer, "-1", "MiCS: shard within groups of this many ranks",
              "leave it out: sharding over all ranks gives the same results with less memory")
          .off("0"),
      noted("zero_optimization.mics_hierarchical_params_gather", boolean, "false", "MiCS",
            "only read with mics_shard_size, which is refused"),
      noted("zero_optimization.memory_efficient_linear", boolean, "true", "Other linear layers", kSameNumbers),
      noted("zero_optimization.pipeline_loading_checkpoint", boolean, "false", "How a checkpoint is read",
            "every rank reads what it owns"),
      noted("zero_optimization.override_module_apply", boolean, "true", "torch's Module.apply", "dstrain is not torch"),
      noted("zero_optimization.log_trace_cache_warnings", boolean, "false", "Warnings", "there is no trace"),
      noted("zero_optimization.enable_sanity_checks", boolean, "false", "Checks", "the preset `checked` has them"),
      noted("zero_optimization.save_muon_momentum_buffer_in_memory", boolean, "false", "Muon's buffer",
            "optimizer states stay in memory"),
      noted("zero_optimization.leaf_module.*", any, "null", "Modules gathered as one", kUnits),
      noted("zero_optimization.zenflow.*", any, "null", "Kind of offload", kHostAlready),
      noted("zero_optimization.super_offload", boolean, "false", "Kind of offload", kHostAlready),
      noted("zero_optimization.cpuadam_cores_perc", number, "0.8", "Cores of the update", "threads is the key for it"),
  };
}

}  // namespace dstrain::keys
