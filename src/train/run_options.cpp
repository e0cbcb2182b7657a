// SPDX-License-Identifier: Apache-2.0
#include "train/run_options.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.hpp"

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
  options.plan.disable_shuffling = config.disable_shuffling;
  options.average_tokens_across_devices = config.average_tokens_across_devices;
  return options;
}

FeederOptions eval_feeder_options(const RunConfig& config, int ranks) {
  FeederOptions options;
  options.plan.per_device_train_batch_size = config.per_device_eval_batch_size;
  options.plan.virtual_ranks = virtual_ranks(config, ranks);
  options.plan.num_train_epochs = 1.0;
  options.plan.disable_shuffling = true;
  options.evaluation = true;
  options.pad_to_multiple_of = config.do_train ? 8 : 1;
  return options;
}

EngineOptions engine_options(const RunConfig& config, const Feeder& feeder, int ranks, int threads) {
  EngineOptions options;
  options.zero_stage = config.zero_stage;
  options.dtype = config.bf16 ? DType::bf16 : DType::f32;
  options.gradient_checkpointing = !config.disable_gradient_checkpointing;
  options.reproducible = config.reproducible;
  options.max_tokens = feeder.limits().padded_tokens;
  const std::int64_t longest_row = std::max<std::int64_t>(feeder.info().max_row_tokens, feeder.info().padded_row_len);
  options.max_position = (longest_row + 7) / 8 * 8;  // HF pads rows to a multiple of 8
  options.token_classes = feeder.limits().token_classes;
  options.client_bytes = feeder.storage_count() * static_cast<std::int64_t>(sizeof(std::int32_t));
  options.max_micro_steps = micro_steps_per_rank(config, ranks);
  options.reduce_bucket_size = config.reduce_bucket_size;
  options.stage3_prefetch_bucket_size = config.stage3_prefetch_bucket_size;
  options.threads = config.threads.value_or(threads);
  options.seed = static_cast<std::uint64_t>(config.seed);
  options.adam_beta1 = config.adam_beta1;
  options.adam_beta2 = config.adam_beta2;
  options.adam_epsilon = config.adam_epsilon;
  options.weight_decay = config.weight_decay;
  options.max_grad_norm = config.max_grad_norm;
  return options;
}

void check_run(const RunConfig& config, int ranks) {
  std::vector<std::string> problems;
  if (config.device == "cuda")
    problems.emplace_back("device: cuda: this dstrain was built without CUDA; use device: cpu or auto");
  if (config.finetuning_type != "full") {
    problems.push_back(fmt::format("finetuning_type: {} is not supported yet; use full", config.finetuning_type));
  }
  if (virtual_ranks(config, ranks) < 1) problems.emplace_back("virtual_ranks must be at least 1");
  if (problems.empty()) return;
  std::string all = problems[0];
  for (std::size_t i = 1; i < problems.size(); ++i) all += "\n  " + problems[i];
  throw ConfigError(all);
}

}  // namespace dstrain
