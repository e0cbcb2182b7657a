// SPDX-License-Identifier: Apache-2.0
/// The one resolved configuration of a run. Each member's initialiser is the default of its key; the key schema points
/// here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/deepspeed_options.hpp"

namespace dstrain {

/// Names are LLaMA-Factory's / transformers' keys letter for letter; dstrain's own stand at the end of each group.
struct RunConfig {
  // model
  std::string model_name_or_path;  ///< folder, config.json, or preset:<name>
  bool train_from_scratch = false;
  bool use_fast_tokenizer = true;
  bool split_special_tokens = false;
  bool disable_gradient_checkpointing = false;
  std::optional<std::string> rope_scaling;
  bool resize_vocab = false;
  std::vector<std::string> add_tokens;
  std::vector<std::string> add_special_tokens;
  std::optional<std::string> new_special_tokens_config;  ///< a file; its tokens stand in add_special_tokens
  std::vector<std::string> adapter_name_or_path;  ///< PEFT folders; the last is trained on, the others are merged
  std::optional<std::string> adapter_folder;      ///< inside each of them

  // what is trained
  int lora_rank = 8;
  std::optional<double> lora_alpha;  ///< default: twice the rank
  double lora_dropout = 0.0;
  std::vector<std::string> lora_target = {"all"};
  std::vector<std::string> additional_target;
  bool create_new_adapter = false;
  std::optional<double> loraplus_lr_ratio;
  double loraplus_lr_embedding = 1e-6;
  bool use_rslora = false;
  bool use_dora = false;
  bool pissa_init = false;
  int pissa_iter = 16;
  bool pissa_convert = false;
  int freeze_trainable_layers = 2;
  std::vector<std::string> freeze_trainable_modules = {"all"};
  std::vector<std::string> freeze_extra_modules;
  bool use_llama_pro = false;
  std::optional<double> neftune_noise_alpha;
  double label_smoothing_factor = 0.0;
  bool use_dft_loss = false;
  bool use_eaft_loss = false;
  double eaft_alpha = 1.0;

  // export (commands/export)
  std::optional<std::string> export_dir;
  int export_size = 5;  ///< GB
  std::string infer_dtype = "auto";

  // data
  std::string stage = "sft";
  std::string finetuning_type = "lora";
  std::optional<std::string> template_name;  ///< key `template`
  std::vector<std::string> dataset;
  std::string dataset_dir = "data";
  int cutoff_len = 2048;
  bool train_on_prompt = false;
  bool mask_history = false;
  bool ignore_pad_token_for_loss = true;
  std::optional<bool> packing;
  bool neat_packing = false;
  std::optional<int> max_samples;
  int preprocessing_batch_size = 1000;
  std::optional<int> preprocessing_num_workers;
  std::optional<std::string> default_system;
  std::optional<std::string> tool_format;
  std::optional<bool> enable_thinking = true;
  bool preserve_thinking = false;
  bool disable_shuffling = false;
  bool group_by_length = false;
  std::string train_sampling_strategy = "random";  ///< random, sequential, group_by_length: the two keys above
  double val_size = 0.0;                           ///< above 1: rows; below 1: share of the rows
  std::vector<std::string> eval_dataset;
  bool eval_on_each_dataset = false;
  std::string mix_strategy = "concat";
  std::vector<std::string> interleave_probs;
  std::optional<std::string> data_split;  ///< DeepSpeed-Chat's
  bool streaming = false;
  int buffer_size = 16384;  ///< rows of the shuffle buffer of streaming
  std::optional<std::string> tokenized_path;
  std::int64_t synthetic_rows = 4096;  ///< rows of `dataset: synthetic`

  // training
  bool do_train = false;
  bool do_eval = false;
  bool do_predict = false;
  bool predict_with_generate = false;
  std::string output_dir;
  bool overwrite_output_dir = false;
  int per_device_train_batch_size = 8;
  int per_device_eval_batch_size = 8;
  int gradient_accumulation_steps = 1;
  double learning_rate = 5e-5;
  double weight_decay = 0.0;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  double max_grad_norm = 1.0;
  double num_train_epochs = 3.0;
  std::int64_t max_steps = -1;
  std::string lr_scheduler_type = "linear";
  std::optional<NamedArguments> lr_scheduler_kwargs;
  double warmup_ratio = 0.0;
  std::int64_t warmup_steps = 0;
  double logging_steps = 500;  ///< < 1: fraction of max_steps
  std::string logging_strategy = "steps";
  bool logging_first_step = false;
  std::string eval_strategy = "no";
  std::optional<double> eval_steps;  ///< < 1: fraction of max_steps; empty: logging_steps
  double eval_delay = 0.0;           ///< updates (eval_strategy: steps) or epochs before the first evaluation
  bool eval_on_start = false;
  bool compute_accuracy = false;
  bool prediction_loss_only = false;
  bool load_best_model_at_end = false;
  std::optional<std::string> metric_for_best_model;
  std::optional<bool> greater_is_better;
  std::optional<int> early_stopping_steps;
  std::string save_strategy = "steps";
  double save_steps = 500;  ///< < 1: fraction of max_steps
  std::optional<int> save_total_limit;
  bool save_only_model = false;
  std::optional<std::string> resume_from_checkpoint;  ///< path, "true", "false"
  bool ignore_data_skip = false;
  std::int64_t seed = 42;
  std::optional<std::int64_t> data_seed;
  bool bf16 = false;
  bool fp16 = false;
  bool pure_bf16 = false;
  bool bf16_full_eval = false;
  bool fp16_full_eval = false;
  bool use_cpu = false;
  bool dataloader_drop_last = false;
  bool average_tokens_across_devices = true;
  std::int64_t ddp_timeout = 1800;  ///< seconds
  bool include_num_input_tokens_seen = false;
  bool include_effective_tokens_per_second = false;
  bool plot_loss = false;
  std::optional<bool> disable_tqdm;
  std::string log_level = "passive";
  std::vector<std::string> report_to;
  std::optional<std::string> logging_dir;
  std::string optim = "adamw_torch";
  std::optional<std::string> optim_args;  ///< name=value,name=value
  bool use_muon = false;                  ///< instead of optim
  std::optional<std::string> deepspeed;   ///< the file that was read; its values stand in the other members

  // sections of DeepSpeed's file without a trainer key
  std::optional<DeepSpeedScheduler> deepspeed_scheduler;  ///< instead of lr_scheduler_type
  std::optional<DeepSpeedOptimizer> deepspeed_optimizer;  ///< details of `optim`, which names the same optimizer
  std::optional<Fp16Options> deepspeed_fp16;  ///< with fp16: DeepSpeed's loss scale; none: torch's GradScaler

  // measuring and DeepSpeed's logs
  bool wall_clock_breakdown = false;
  bool memory_breakdown = false;
  std::optional<double> steps_per_print;  ///< updates between their lines; empty: logging_steps
  std::int64_t flops_profiler_step = 0;   ///< the update that is profiled; 0: none
  int flops_profiler_depth = -1;          ///< levels of the table; -1: all
  bool flops_profiler_detailed = true;    ///< with the table of modules
  std::optional<std::string> flops_profiler_file;
  bool comms_logger = false;
  std::optional<std::string> csv_monitor;          ///< folder
  std::optional<std::string> tensorboard_monitor;  ///< folder
  bool dump_state = false;
  bool print_param_status = false;

  // dstrain's own
  int zero_stage = 0;
  std::int64_t reduce_bucket_size = 500'000'000;  ///< elements (DeepSpeed's key and default)
  std::int64_t stage3_prefetch_bucket_size = 50'000'000;
  std::string offload_optimizer = "none";         ///< "none" or "cpu": masters and states beside a GPU
  std::string offload_param = "none";             ///< "none" or "cpu": slices of the weights beside a GPU, at stage 3
  std::optional<std::int64_t> ddp_bucket_cap_mb;  ///< reduce_bucket_size in MiB of fp32, where nothing else says it
  std::optional<int> virtual_ranks;               ///< default: world size
  bool reproducible = false;
  std::string device = "auto";                        ///< auto, cpu, cuda
  bool device_oversubscribe = false;                  ///< ranks of a node may share a GPU
  std::string attention_backend = "own";              ///< own, cudnn, cudnn_any_order
  std::string checkpoint_writers = "rank";            ///< rank, node, single, collective
  bool async_checkpoint = true;                       ///< write behind the next steps
  std::optional<int> async_checkpoint_max_lag;        ///< steps; default: a tenth of the interval
  std::int64_t checkpoint_buffer_size = 268'435'456;  ///< bytes of each rank
  std::string on_nonfinite = "stop";                  ///< stop, skip
  std::int64_t replica_check_steps = 100;             ///< 0: never
  double loss_spike_threshold = 3.0;                  ///< 0: nothing is reported
  std::optional<int> threads;                         ///< per rank; default: comm/threads.hpp
  std::string cpu_binding = "auto";                   ///< auto, none, numa, core
  int tensor_parallel_size = 1;
  int pipeline_parallel_size = 1;
  int context_parallel_size = 1;

  // generation (commands/generate)
  bool do_sample = true;
  double temperature = 0.95;
  double top_p = 0.7;
  int top_k = 50;
  int max_new_tokens = 1024;
  int max_length = 1024;  ///< prompt and answer together; only where max_new_tokens is 0 or less
  double repetition_penalty = 1.0;
  bool skip_special_tokens = true;
};

/// Whether a run trains: as do_train says; a file that names nothing to do at all trains too.
inline bool runs_training(const RunConfig& c) { return c.do_train || !(c.do_eval || c.do_predict); }
/// Whether a run evaluates, during training or after it.
inline bool runs_evaluation(const RunConfig& c) { return c.do_eval || c.eval_strategy != "no"; }

}  // namespace dstrain
