// SPDX-License-Identifier: Apache-2.0
/// gdGPT's YAML, DeepSpeed-Chat's flags, and options of launchers.
#include "config/key_schema.hpp"

namespace dstrain::keys {
namespace {
constexpr std::string_view kLauncherPlaces = "mpirun or srun place the ranks";
constexpr std::string_view kHostfile = "give the hostfile to dstrain launch: --hostfile";
}  // namespace

std::vector<KeySpec> gdgpt() {
  using enum ValueType;
  return {
      becomes("model_path", text, "null", "Model folder", "model_name_or_path").path(),
      becomes("save_path", text, "null", "Where the model goes", "output_dir"),
      becomes("data_path", text, "null", "Data file", "dataset").path(),
      becomes("n_epoches", number, "1", "Passes over the data", "num_train_epochs"),
      becomes("max_seq_len", integer, "null", "Token limit of one example", "cutoff_len"),
      becomes("from_scratch", boolean, "false", "Random weights", "train_from_scratch"),
      becomes("use_grad_ckpt", boolean, "false", "Activation checkpointing",
              "disable_gradient_checkpointing, turned round"),
      noted("use_flash_attn", boolean, "false", "Attention kernel", "dstrain uses its own; the loss is the same"),
      refused("aux_max_z_loss.weight", number, "0", "Auxiliary loss on the largest logit",
              "not supported yet; remove aux_max_z_loss"),
      becomes("model_topo.process_topology.axes", list, "null", "Names of the axes of ranks", "the check of dims"),
      becomes("model_topo.process_topology.dims", list, "null", "Ranks along each axis",
              "virtual_ranks along data; along pipe only 1"),
      noted("model_topo.parts", list, "null", "Layers of each pipeline stage", "every rank runs all layers"),
      noted("optimizer.no_wd_kws", list, "[]", "Parameters without weight decay, as patterns",
            "names with bias, layernorm or rmsnorm have none"),
  };
}

std::vector<KeySpec> deepspeed_chat() {
  using enum ValueType;
  return {
      becomes("data_path", list, "Dahoas/rm-static",
              "Datasets; rows have prompt and chosen. local/jsonfile: data/train.json and data/eval.json", "dataset"),
      becomes("data_split", text, "\"2,4,4\"", "Shares of the three steps; step 1 takes the first", "data_split"),
      becomes("sft_only_data_path", list, "[]", "Further datasets of step 1", "dataset"),
      noted("data_output_path", text, "/tmp/data_files/", "Cache", "the token cache lies in output_dir"),
      becomes("max_seq_len", integer, "512", "Token limit of one example", "cutoff_len"),
      becomes("num_warmup_steps", integer, "0", "Updates with a rising learning rate", "warmup_steps"),
      becomes("dtype", text, "fp16", "fp16 or bf16", "fp16 or bf16").choices("fp16|bf16"),
      becomes("offload", boolean, "false", "Weights and optimizer states in host memory",
              "zero_optimization.offload_param and offload_optimizer"),
      becomes("zero_stage", integer, "0", "ZeRO stage", "zero_stage"),
      becomes("lora_dim", integer, "0", "Rank of LoRA; 0: all weights are trained", "finetuning_type, lora_rank"),
      becomes("lora_module_name", text, "decoder.layers.", "Part of the names of the layers that get LoRA",
              "lora_target: all"),
      refused("only_optimize_lora", boolean, "false", "Freeze all but LoRA", "leave it out: lora_dim does so here")
          .off("true"),
      becomes("lora_learning_rate", number, "5e-4", "Learning rate of LoRA", "learning_rate, with lora_dim"),
      noted("compute_fp32_loss", boolean, "false", "Loss in fp32", "it is in fp32 in any case"),
      refused("dropout", number, "null", "Dropout of the model", "set it in the model's config.json"),
      noted("enable_tensorboard", boolean, "false", "TensorBoard", "say report_to: tensorboard"),
      noted("tensorboard_path", text, "step1_tensorboard", "TensorBoard", "say logging_dir"),
      noted("print_loss", boolean, "false", "Print the loss", "logging_steps says when"),
      refused("add_eot_token", boolean, "false", "Add <|endoftext|> to the tokenizer",
              "leave it out: the tokenizer's own end token is used"),
      noted("eot_token", text, "<|endoftext|>", "End token", "only read with add_eot_token, which is refused"),
  };
}

std::vector<KeySpec> launcher() {
  using enum ValueType;
  return {
      noted("hostfile", text, "/job/hostfile", "deepspeed", kHostfile),
      noted("include", text, "\"\"", "deepspeed", kLauncherPlaces),
      noted("exclude", text, "\"\"", "deepspeed", kLauncherPlaces),
      noted("num_nodes", integer, "-1", "deepspeed", kLauncherPlaces),
      noted("num_gpus", integer, "-1", "deepspeed", kLauncherPlaces),
      noted("num_accelerators", integer, "-1", "deepspeed", kLauncherPlaces),
      noted("master_addr", text, "\"\"", "deepspeed, torchrun", kLauncherPlaces),
      noted("master_port", integer, "29500", "deepspeed, torchrun", kLauncherPlaces),
      noted("launcher", text, "pdsh", "deepspeed", kLauncherPlaces),
      noted("launcher_args", text, "\"\"", "deepspeed", kLauncherPlaces),
      noted("node_rank", integer, "0", "deepspeed, torchrun", kLauncherPlaces),
      noted("nnodes", text, "\"1\"", "torchrun", kLauncherPlaces),
      noted("nproc_per_node", text, "\"1\"", "torchrun", kLauncherPlaces),
      noted("rdzv_backend", text, "static", "torchrun", kLauncherPlaces),
      noted("rdzv_endpoint", text, "\"\"", "torchrun", kLauncherPlaces),
      noted("rdzv_id", text, "none", "torchrun", kLauncherPlaces),
      noted("max_restarts", integer, "0", "torchrun", kLauncherPlaces),
      noted("num_processes", integer, "-1", "accelerate", kLauncherPlaces),
      noted("num_machines", integer, "1", "accelerate", kLauncherPlaces),
      noted("machine_rank", integer, "0", "accelerate", kLauncherPlaces),
      noted("main_process_ip", text, "null", "accelerate", kLauncherPlaces),
      noted("main_process_port", integer, "null", "accelerate", kLauncherPlaces),
      noted("mpirun_hostfile", text, "null", "accelerate", kHostfile),
  };
}

}  // namespace dstrain::keys
