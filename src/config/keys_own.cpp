// SPDX-License-Identifier: Apache-2.0
/// Keys that are dstrain's own, and those of DeepSpeed's file that are keys here as well.
#include "config/key_schema.hpp"

namespace dstrain::keys {

std::vector<KeySpec> own() {
  using C = RunConfig;
  return {
      runs("zero_stage", &C::zero_stage, "ZeRO: 0 nothing sharded, 1 optimizer state, 2 + gradients, 3 + parameters"),
      runs("reduce_bucket_size", &C::reduce_bucket_size,
           "Elements of a gradient bucket (DeepSpeed's zero_optimization key)"),
      runs("stage3_prefetch_bucket_size", &C::stage3_prefetch_bucket_size,
           "Elements gathered ahead at ZeRO stage 3 (DeepSpeed's key)"),
      runs(
          "offload_optimizer", &C::offload_optimizer,
          "With GPUs: cpu keeps master weights and optimizer states in host memory and updates them there (DeepSpeed's "
          "offload_optimizer.device). On CPUs everything lies there already")
          .choices("none|cpu"),
      runs("offload_param", &C::offload_param,
           "With GPUs at ZeRO stage 3: cpu keeps each rank's slice of the weights in host memory (DeepSpeed's "
           "offload_param.device). On CPUs everything lies there already")
          .choices("none|cpu"),
      runs("virtual_ranks", &C::virtual_ranks,
           "World size that order, batch and step count follow; any number of real ranks then gives the same run. "
           "Empty: the real one"),
      runs("reproducible", &C::reproducible, "The same bits on any number of ranks, given the same virtual_ranks"),
      runs("device", &C::device, "Backend to run on: auto takes a GPU where this build knows CUDA and there is one")
          .choices("auto|cpu|cuda"),
      runs("device_oversubscribe", &C::device_oversubscribe,
           "Let ranks of a node share a GPU; their collectives go through host memory"),
      runs("attention_backend", &C::attention_backend,
           "Whose attention kernels a GPU runs in bf16 and fp16: dstrain's own; cuDNN's where it takes the shape, "
           "compiled "
           "and compared with the own ones at start; or those with a faster backward pass that gives other bits in "
           "every "
           "run (docs/gpu.md)")
          .choices("own|cudnn|cudnn_any_order"),
      runs(
          "checkpoint_writers", &C::checkpoint_writers,
          "Who writes a checkpoint: every rank a file of its own; one file for each node; rank 0 alone, for an "
          "output_dir that no other host sees; all ranks one file by collective HDF5. The last two do not write behind "
          "training")
          .choices("rank|node|single|collective"),
      runs("async_checkpoint", &C::async_checkpoint, "Checkpoints are written while the next steps compute"),
      runs(
          "async_checkpoint_max_lag", &C::async_checkpoint_max_lag,
          "A checkpoint that is written behind training is complete before so many steps beyond the next one are done; "
          "training waits where it is not. A kill loses at most save_steps + this many steps. Empty: a tenth of "
          "save_steps, rounded down"),
      runs("checkpoint_buffer_size", &C::checkpoint_buffer_size,
           "Bytes per rank for state that is not on the disk yet when the next update changes it (at most the state "
           "itself); with less, that update waits longer"),
      runs("on_nonfinite", &C::on_nonfinite,
           "NaN or infinity in loss or gradient: stop the run, or skip the update (docs/fault-tolerance.md)")
          .choices("stop|skip"),
      runs("replica_check_steps", &C::replica_check_steps,
           "Steps between comparisons of the bits that all ranks should have in common; 0: never"),
      runs("loss_spike_threshold", &C::loss_spike_threshold,
           "A loss of so many times its running mean is reported; 0: never"),
      runs("threads", &C::threads,
           "Threads of one rank. Empty: OMP_NUM_THREADS, else SLURM_CPUS_PER_TASK, else its share of the node's cores"),
      runs("cpu_binding", &C::cpu_binding,
           "Cores that a rank which no launcher bound is kept to: auto near its GPU, else its NUMA nodes where ranks "
           "share them evenly; none; numa; core its share of the cores")
          .choices("auto|none|numa|core"),
      runs("tensor_parallel_size", &C::tensor_parallel_size, "Ranks that share a layer's matrices; only 1 so far"),
      runs("pipeline_parallel_size", &C::pipeline_parallel_size,
           "Ranks that share the layers one after the other; only 1 so far"),
      runs("context_parallel_size", &C::context_parallel_size, "Ranks that share a sequence; only 1 so far"),
      runs(
          "data_split", &C::data_split,
          "DeepSpeed-Chat's shares of its three steps, as 2,4,4, or one such list for each dataset with | between: the "
          "rows that its first step takes, in its order. Empty: every row"),
      runs("synthetic_rows", &C::synthetic_rows, "Rows of `dataset: synthetic`"),
      runs(
          "deepspeed_scheduler", &C::deepspeed_scheduler,
          "DeepSpeed's scheduler section as it was resolved, {type: ..., params: {...}}; instead of lr_scheduler_type"),
      runs("deepspeed_optimizer", &C::deepspeed_optimizer,
           "DeepSpeed's optimizer section as it was resolved; its weight_decay is that of every tensor"),
      runs("deepspeed_fp16", &C::deepspeed_fp16,
           "DeepSpeed's fp16 section as it was resolved; with fp16: true its loss scale rule instead of torch's"),
      runs("deepspeed", &C::deepspeed,
           "DeepSpeed's JSON: a path, or the mapping itself. `auto` keeps this file's value; other differences are "
           "errors")
          .path(),
  };
}

}  // namespace dstrain::keys
