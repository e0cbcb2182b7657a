// SPDX-License-Identifier: Apache-2.0
/// accelerate's YAML (`--config_file`): placement, precision, and its DeepSpeed and FSDP sections.
#include "config/key_schema.hpp"

namespace dstrain::keys {
namespace {
constexpr std::string_view kPlacement = "mpirun or srun place the ranks";
constexpr std::string_view kTpuOnly = "only read on TPUs";
constexpr std::string_view kNotTorch = "dstrain is not torch; it changes no result";
constexpr std::string_view kSharded = "weights are always streamed to their owners";
}  // namespace

std::vector<KeySpec> accelerate() {
  using enum ValueType;
  return {
      noted("compute_environment", text, "LOCAL_MACHINE", "Where it runs", kPlacement)
          .choices("LOCAL_MACHINE")
          .not_yet("AMAZON_SAGEMAKER", "start dstrain by mpirun or srun on the machines themselves"),
      becomes("distributed_type", text, "\"\"", "Kind of parallelism; required", "zero_stage, by the section it names")
          .choices("NO|MULTI_GPU|MULTI_CPU|MULTI_NPU|MULTI_MLU|MULTI_XPU|MULTI_HPU|DEEPSPEED|FSDP")
          .not_yet("MEGATRON_LM|XLA|TPU|TP", "use DEEPSPEED with zero_stage: 3"),
      becomes("mixed_precision", text, "\"no\"", "no, fp16, bf16", "fp16 or bf16")
          .choices("no|fp16|bf16")
          .not_yet("fp8", "use bf16"),
      becomes("use_cpu", boolean, "false", "Run on the CPU", "use_cpu"),
      becomes("num_processes", integer, "-1", "Ranks on all machines together",
              "nothing: it is compared with the ranks that MPI gives"),
      noted("num_machines", integer, "1", "Machines", kPlacement),
      noted("machine_rank", integer, "0", "This machine's number", kPlacement),
      becomes("main_process_ip", text, "null", "First machine",
              "nothing: it must look like an address, and mpirun finds the machines"),
      noted("main_process_port", integer, "null", "Port on the first machine", kPlacement),
      noted("same_network", boolean, "false", "Whether machines see each other", kPlacement).off("true"),
      noted("rdzv_backend", text, "static", "How ranks meet", kPlacement).choices("static|c10d|etcd|etcd-v2"),
      noted("gpu_ids", any, "null", "Devices", "CUDA_VISIBLE_DEVICES says it").off("all"),
      noted("debug", boolean, "false", "Check collectives", "the preset `checked` has such checks"),
      noted("enable_cpu_affinity", boolean, "false", "Pin ranks to cores", kPlacement),
      noted("main_training_function", text, "main", "Function of the script", "there is no script"),
      noted("downcast_bf16", any, "\"no\"", "TPUs", kTpuOnly).off("false|null"),
      noted("tpu_name", text, "null", "TPUs", kTpuOnly),
      noted("tpu_zone", text, "null", "TPUs", kTpuOnly),
      noted("tpu_use_cluster", boolean, "false", "TPUs", kTpuOnly),
      noted("tpu_use_sudo", boolean, "false", "TPUs", kTpuOnly),
      noted("tpu_vm", any, "null", "TPUs", kTpuOnly),
      noted("tpu_env", any, "null", "TPUs", kTpuOnly),
      noted("command_file", text, "null", "TPUs", kTpuOnly),
      noted("commands", any, "null", "TPUs", kTpuOnly),
      noted("dynamo_backend", text, "\"NO\"", "torch's compiler", kNotTorch),
      noted("dynamo_config.*", any, "null", "torch's compiler", kNotTorch),
      noted("ipex_config.*", any, "null", "Intel's extension of torch (accelerate before 1.9)", kNotTorch),
      noted("mpirun_config.mpirun_hostfile", text, "null", "Hostfile", "dstrain launch reads it"),
      noted("mpirun_config.mpirun_ccl", any, "1", "Threads of oneCCL", "threads is the key for it"),
      refused("fp8_config.*", any, "null", "8-bit floats", "use mixed_precision: bf16"),
      refused("megatron_lm_config.*", any, "null", "Megatron-LM", "use deepspeed_config with zero_stage: 3"),
      refused("parallelism_config.*", any, "null", "Meshes of ranks", "use deepspeed_config with zero_stage: 3"),
      becomes("fp16", boolean, "false", "Old form of mixed_precision: fp16", "fp16"),
  };
}

std::vector<KeySpec> accelerate_sections() {
  using enum ValueType;
  return {
      becomes("deepspeed_config.deepspeed_config_file", text, "null", "DeepSpeed's file", "deepspeed").path(),
      becomes("deepspeed_config.zero_stage", integer, "2", "ZeRO stage", "zero_stage"),
      becomes("deepspeed_config.gradient_accumulation_steps", integer, "auto", "Micro-batches per update",
              "gradient_accumulation_steps"),
      becomes("deepspeed_config.gradient_clipping", number, "auto", "Largest gradient norm", "max_grad_norm"),
      becomes("deepspeed_config.offload_optimizer_device", text, "none", "Where optimizer states lie",
              "zero_optimization.offload_optimizer.device"),
      becomes("deepspeed_config.offload_param_device", text, "none", "Where parameters lie",
              "zero_optimization.offload_param.device"),
      noted("deepspeed_config.offload_optimizer_nvme_path", text, "none", "Folder on a fast disk",
            "nothing is offloaded to a disk"),
      noted("deepspeed_config.offload_param_nvme_path", text, "none", "Folder on a fast disk",
            "nothing is offloaded to a disk"),
      noted("deepspeed_config.zero3_init_flag", boolean, "null", "Load sharded", kSharded).off("false"),
      noted("deepspeed_config.zero3_save_16bit_model", boolean, "false", "Write the whole model at the end",
            "it is written in any case"),
      noted("deepspeed_config.deepspeed_hostfile", text, "null", "Hostfile", "dstrain launch reads it"),
      noted("deepspeed_config.deepspeed_exclusion_filter", text, "null", "Hosts to leave out", kPlacement),
      noted("deepspeed_config.deepspeed_inclusion_filter", text, "null", "Hosts to use", kPlacement),
      noted("deepspeed_config.deepspeed_multinode_launcher", text, "pdsh", "Who starts the ranks", kPlacement)
          .choices("pdsh|standard|openmpi|mvapich|mpich|nossh|slurm"),
      refused("deepspeed_config.deepspeed_moe_layer_cls_names", text, "null", "Mixtures of experts",
              "such models cannot be trained here"),

      becomes("fsdp_config.fsdp_sharding_strategy", text, "FULL_SHARD", "What is sharded",
              "zero_stage: FULL_SHARD 3, SHARD_GRAD_OP 2, NO_SHARD 0; the HYBRID ones shard over all ranks"),
      becomes("fsdp_config.fsdp_reshard_after_forward", any, "null", "What is sharded, in FSDP 2's words",
              "zero_stage: true 3, false 2"),
      noted("fsdp_config.fsdp_version", integer, "1", "FSDP 1 or 2", "the numbers are the same").choices("1|2"),
      noted("fsdp_config.fsdp_offload_params", boolean, "false", "Where parameters lie",
            "on CPUs everything lies in host memory already"),
      becomes("fsdp_config.fsdp_activation_checkpointing", boolean, "false", "Activation checkpointing",
              "disable_gradient_checkpointing: false where it is true"),
      noted("fsdp_config.fsdp_auto_wrap_policy", text, "TRANSFORMER_BASED_WRAP", "What is gathered at once",
            "whole layers are gathered")
          .choices("TRANSFORMER_BASED_WRAP|SIZE_BASED_WRAP|NO_WRAP"),
      noted("fsdp_config.fsdp_transformer_layer_cls_to_wrap", any, "null", "What is gathered at once",
            "whole layers are gathered"),
      noted("fsdp_config.fsdp_min_num_params", integer, "0", "What is gathered at once", "whole layers are gathered"),
      noted("fsdp_config.fsdp_backward_prefetch", any, "NO_PREFETCH", "Gather ahead",
            "stage3_prefetch_bucket_size is the key for it")
          .off("BACKWARD_PRE|BACKWARD_POST|null"),
      noted("fsdp_config.fsdp_backward_prefetch_policy", any, "NO_PREFETCH", "Old name of fsdp_backward_prefetch",
            "stage3_prefetch_bucket_size is the key for it"),
      noted("fsdp_config.fsdp_forward_prefetch", boolean, "false", "Gather ahead",
            "stage3_prefetch_bucket_size is the key for it"),
      noted("fsdp_config.fsdp_state_dict_type", text, "FULL_STATE_DICT", "Form of checkpoints",
            "checkpoints are sharded, and the model at the end is whole")
          .choices("FULL_STATE_DICT|SHARDED_STATE_DICT|LOCAL_STATE_DICT"),
      noted("fsdp_config.fsdp_cpu_ram_efficient_loading", boolean, "false", "Load on one rank", kSharded).off("true"),
      noted("fsdp_config.fsdp_sync_module_states", boolean, "false", "Send weights from rank 0", kSharded).off("true"),
      noted("fsdp_config.fsdp_use_orig_params", boolean, "false", "Names of parameters", kNotTorch).off("true"),
  };
}

}  // namespace dstrain::keys
