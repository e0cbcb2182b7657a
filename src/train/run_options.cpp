// SPDX-License-Identifier: Apache-2.0
#include "train/run_options.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "core/device_runtime.hpp"
#include "core/error.hpp"
#include "train/evaluation.hpp"
#include "train/optimizer_options.hpp"
#include "train/predictions.hpp"
#include "train/run_setup.hpp"
#include "train/tuning_setup.hpp"

namespace dstrain {

int virtual_ranks(const RunConfig& config, int ranks) { return config.virtual_ranks.value_or(ranks); }

int micro_steps_per_rank(const RunConfig& config, int ranks) {
  const int slots = virtual_ranks(config, ranks) * config.gradient_accumulation_steps;
  return (slots + ranks - 1) / ranks;
}

FeederOptions feeder_options(const RunConfig& config, int ranks) {
  FeederOptions options;
  options.plan.per_device_train_batch_size = config.per_device_train_batch_size;
  options.plan.gradient_accumulation_steps = config.gradient_accumulation_steps;
  options.plan.virtual_ranks = virtual_ranks(config, ranks);
  options.plan.num_train_epochs = config.num_train_epochs;
  options.plan.max_steps = config.max_steps;
  options.plan.seed = static_cast<std::uint64_t>(config.data_seed.value_or(config.seed));
  options.plan.dataloader_drop_last = config.dataloader_drop_last;
  // A stream comes in its own order.
  options.plan.disable_shuffling = config.disable_shuffling || config.streaming;
  options.plan.group_by_length = config.group_by_length && !options.plan.disable_shuffling;
  options.average_tokens_across_devices = config.average_tokens_across_devices;
  return options;
}

FeederOptions eval_feeder_options(const RunConfig& config, int ranks) {
  FeederOptions options;
  options.plan.per_device_train_batch_size = config.per_device_eval_batch_size;
  options.plan.virtual_ranks = virtual_ranks(config, ranks);
  // Every rank gets a batch in each round; which rows stand together does not depend on it.
  options.plan.gradient_accumulation_steps = (ranks + options.plan.virtual_ranks - 1) / options.plan.virtual_ranks;
  options.plan.num_train_epochs = 1.0;
  options.plan.dataloader_drop_last = config.dataloader_drop_last;
  options.plan.disable_shuffling = true;
  options.evaluation = true;
  options.padding.multiple_of = runs_training(config) ? 8 : 1;
  return options;
}

namespace {

std::int64_t even_count(std::int64_t n) { return (n + 1) / 2 * 2; }

/// Sizes of the micro-batches and evaluation batches that will come, and the room for them.
void add_batch_sizes(const RunConfig& config, const RunSetup& setup, int ranks, EngineOptions& options) {
  std::int64_t longest_row = 1;
  std::int64_t elements = 0;
  const auto see = [&](const Feeder& feeder) {
    longest_row = std::max({longest_row, feeder.info().max_row_tokens, std::int64_t{feeder.info().padded_row_len}});
  };
  options.train = setup.feeder != nullptr;
  options.max_tokens = 1;
  if (options.train) {
    see(*setup.feeder);
    options.max_tokens = setup.feeder->limits().padded_tokens;
    options.token_classes = setup.feeder->limits().token_classes;
    elements = even_count(setup.feeder->storage_count());
  }
  options.eval_predictions = evaluates_accuracy(config);
  for (const auto& source : setup.eval_sources) {
    if (source.feeder == nullptr) continue;
    see(*source.feeder);
    const MicroBatchLimits& limits = source.feeder->limits();
    options.max_eval_tokens = std::max(options.max_eval_tokens, limits.padded_tokens);
    options.eval_token_classes.insert(options.eval_token_classes.end(), limits.token_classes.begin(),
                                      limits.token_classes.end());
    elements += Evaluation::storage_count(*source.feeder, ranks, options.eval_predictions);
  }
  auto& classes = options.eval_token_classes;
  std::sort(classes.begin(), classes.end());
  classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
  if (setup.prompt_count > 0) {
    options.max_prompts = std::min<std::int64_t>(prediction_batch(config), setup.prompt_count);
    options.max_answer_length = answer_length(config, setup.longest_prompt);
  }
  options.max_position = (longest_row + 7) / 8 * 8;  // HF pads rows to a multiple of 8
  options.client_bytes = elements * static_cast<std::int64_t>(sizeof(std::int32_t));
}

AttentionKernels attention_kernels(const RunConfig& config) {
  if (config.attention_backend == "cudnn") return AttentionKernels::cudnn;
  if (config.attention_backend == "cudnn_any_order") return AttentionKernels::cudnn_any_order;
  return AttentionKernels::own;
}

}  // namespace

TokenLoss token_loss(const RunConfig& config) {
  // A loss of LLaMA-Factory's own comes before the label smoother; only its sft trainer knows them.
  if (config.use_dft_loss && config.stage == "sft") return {.times_probability = true};
  if (config.use_eaft_loss && config.stage == "sft")
    return {.times_entropy = true, .entropy_power = static_cast<float>(config.eaft_alpha)};
  return {.label_smoothing = static_cast<float>(config.label_smoothing_factor)};
}

bool evaluates_accuracy(const RunConfig& config) {
  return config.compute_accuracy && !config.prediction_loss_only && runs_evaluation(config);
}

int prediction_batch(const RunConfig& config) { return std::min(config.per_device_eval_batch_size, 64); }

CheckpointWriters checkpoint_writers(const RunConfig& config) {
  if (config.checkpoint_writers == "node") return CheckpointWriters::node;
  if (config.checkpoint_writers == "single") return CheckpointWriters::single;
  if (config.checkpoint_writers == "collective") return CheckpointWriters::collective;
  return CheckpointWriters::rank;
}

bool writes_behind(const RunConfig& config) {
  const auto writers = checkpoint_writers(config);
  return config.async_checkpoint && config.save_strategy != "no" && !config.pure_bf16 &&
         (writers == CheckpointWriters::rank || writers == CheckpointWriters::node);
}

DType compute_dtype(const RunConfig& config) {
  const bool only_evaluates = !runs_training(config);
  if (config.fp16 || (only_evaluates && config.fp16_full_eval)) return DType::f16;
  return config.bf16 || config.pure_bf16 || (only_evaluates && config.bf16_full_eval) ? DType::bf16 : DType::f32;
}

EngineOptions engine_options(const RunConfig& config, const RunSetup& setup, int ranks, int threads) {
  EngineOptions options;
  add_batch_sizes(config, setup, ranks, options);
  options.zero_stage = config.zero_stage;
  options.dtype = compute_dtype(config);
  options.gradient_checkpointing = !config.disable_gradient_checkpointing;
  options.reproducible = config.reproducible;
  options.on_nonfinite = OnNonfinite::skip;  // the trainer looks for the cause first, then does what the key says
  options.max_micro_steps = micro_steps_per_rank(config, ranks);
  options.reduce_bucket_size = config.reduce_bucket_size;
  options.stage3_prefetch_bucket_size = config.stage3_prefetch_bucket_size;
  options.offload_optimizer = config.offload_optimizer == "cpu";
  options.offload_param = config.offload_param == "cpu";
  options.threads = config.threads.value_or(threads);
  options.seed = static_cast<std::uint64_t>(config.seed);
  options.optim = optimizer_settings(config);
  options.optim.pure_bf16 = config.pure_bf16;
  options.loss_scale = loss_scale_options(config);
  if (decays_everything(config)) options.decays = [](const auto&, const auto&) { return true; };
  options.tuning = setup.tuning.tuning;
  options.neftune_noise_alpha = config.neftune_noise_alpha.value_or(0.0);
  options.attention = attention_kernels(config);
  options.token_loss = token_loss(config);
  options.lr_factor = lr_factors(config);
  options.weight_decay = config.weight_decay;
  options.max_grad_norm = config.max_grad_norm;
  options.checkpoint.writers = checkpoint_writers(config);
  // Before the other ranks, which wait for this one, give up.
  options.checkpoint.patience_s = 0.8 * static_cast<double>(config.ddp_timeout);
  if (writes_behind(config)) options.checkpoint.buffer_bytes = config.checkpoint_buffer_size;
  return options;
}

void check_run(const RunConfig& config, int ranks) {
  std::vector<std::string> problems;
  if (config.device == "cuda" && device_runtime() == nullptr)
    problems.emplace_back("device: cuda: this dstrain was built without CUDA; use device: cpu or auto");
  if (config.stage != "sft" && config.stage != "pt") {
    problems.push_back(
        fmt::format("stage: {} does not train yet, only sft and pt do; `dstrain data` shows its rows", config.stage));
  }
  if (config.lr_scheduler_type == "reduce_lr_on_plateau" && !config.deepspeed_scheduler && config.eval_strategy == "no")
    problems.emplace_back(
        "lr_scheduler_type: reduce_lr_on_plateau requires an eval strategy; set eval_strategy: steps");
  if (virtual_ranks(config, ranks) < 1) problems.emplace_back("virtual_ranks must be at least 1");
  if (problems.empty()) return;
  std::string all = problems[0];
  for (std::size_t i = 1; i < problems.size(); ++i) all += "\n  " + problems[i];
  throw ConfigError(all);
}

}  // namespace dstrain
