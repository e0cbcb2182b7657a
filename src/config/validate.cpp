// SPDX-License-Identifier: Apache-2.0
#include "config/validate.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "config/key_schema.hpp"

namespace dstrain {
namespace {

class Rules {
 public:
  Rules(const ResolvedConfig& resolved, std::vector<ConfigProblem>& problems)
      : resolved_(resolved), problems_(problems) {}

  /// A rule about one key: "key 'x': is 5; ...".
  template <typename T>
  void range(std::string_view key, T value, bool good, std::string_view right) {
    if (!good) problems_.push_back({resolved_.origin(key), fmt::format("key '{}': is {}; {}", key, value, right)});
  }
  /// A rule about several; `key` is the one whose line is named.
  void together(std::string_view key, bool good, std::string text) {
    if (!good) problems_.push_back({resolved_.origin(key), std::move(text)});
  }

 private:
  const ResolvedConfig& resolved_;
  std::vector<ConfigProblem>& problems_;
};

void check_sizes(const RunConfig& c, Rules& rules) {
  rules.range("val_size", c.val_size, std::isfinite(c.val_size) && c.val_size >= 0 && c.val_size != 1.0,
              "use 0 (none), a share below 1 or a number of rows above 1");
  rules.together("val_size", c.val_size <= 1e-6 || c.eval_dataset.empty(),
                 "Cannot specify `val_size` if `eval_dataset` is not None.");
  const auto at_least_1 = [&](std::string_view key, std::int64_t value) {
    rules.range(key, value, value >= 1, "use 1 or more");
  };
  at_least_1("per_device_train_batch_size", c.per_device_train_batch_size);
  at_least_1("per_device_eval_batch_size", c.per_device_eval_batch_size);
  at_least_1("gradient_accumulation_steps", c.gradient_accumulation_steps);
  at_least_1("cutoff_len", c.cutoff_len);
  at_least_1("preprocessing_batch_size", c.preprocessing_batch_size);
  at_least_1("preprocessing_num_workers", c.preprocessing_num_workers.value_or(1));
  at_least_1("max_samples", c.max_samples.value_or(1));
  at_least_1("save_total_limit", c.save_total_limit.value_or(1));
  at_least_1("virtual_ranks", c.virtual_ranks.value_or(1));
  at_least_1("threads", c.threads.value_or(1));
  at_least_1("reduce_bucket_size", c.reduce_bucket_size);
  at_least_1("stage3_prefetch_bucket_size", c.stage3_prefetch_bucket_size);
  at_least_1("synthetic_rows", c.synthetic_rows);
  at_least_1("ddp_timeout", c.ddp_timeout);
  rules.range("async_checkpoint_max_lag", c.async_checkpoint_max_lag.value_or(0),
              c.async_checkpoint_max_lag.value_or(0) >= 0, "use 0 or more");
  rules.range("checkpoint_buffer_size", c.checkpoint_buffer_size, c.checkpoint_buffer_size >= 0, "use 0 or more");
  at_least_1("max_length", c.max_length);
  rules.range("replica_check_steps", c.replica_check_steps, c.replica_check_steps >= 0, "use 0 or more");
  rules.range("loss_spike_threshold", c.loss_spike_threshold,
              c.loss_spike_threshold == 0 || (std::isfinite(c.loss_spike_threshold) && c.loss_spike_threshold > 1),
              "use more than 1, or 0 for no reports");
  rules.range("zero_stage", c.zero_stage, c.zero_stage >= 0 && c.zero_stage <= 3, "use 0, 1, 2 or 3");
  for (const auto& [key, value] : {std::pair{"tensor_parallel_size", c.tensor_parallel_size},
                                   std::pair{"pipeline_parallel_size", c.pipeline_parallel_size},
                                   std::pair{"context_parallel_size", c.context_parallel_size}}) {
    rules.range(key, value, value == 1, "only 1 is supported so far; shard with zero_stage");
  }
}

void check_optimizer(const RunConfig& c, Rules& rules) {
  const auto finite = [](double x) { return std::isfinite(x); };
  rules.range("learning_rate", c.learning_rate, finite(c.learning_rate) && c.learning_rate >= 0, "use 0 or more");
  rules.range("weight_decay", c.weight_decay, finite(c.weight_decay) && c.weight_decay >= 0, "use 0 or more");
  rules.range("adam_beta1", c.adam_beta1, c.adam_beta1 >= 0 && c.adam_beta1 < 1, "use 0 or more and less than 1");
  rules.range("adam_beta2", c.adam_beta2, c.adam_beta2 >= 0 && c.adam_beta2 < 1, "use 0 or more and less than 1");
  rules.range("adam_epsilon", c.adam_epsilon, finite(c.adam_epsilon) && c.adam_epsilon >= 0, "use 0 or more");
  rules.range("label_smoothing_factor", c.label_smoothing_factor,
              c.label_smoothing_factor >= 0 && c.label_smoothing_factor <= 1, "use 0 (none) to 1");
  rules.range("eaft_alpha", c.eaft_alpha, std::isfinite(c.eaft_alpha) && c.eaft_alpha >= 0, "use 0 or more");
  rules.together("pure_bf16", !(c.pure_bf16 && c.fp16), "pure_bf16 contradicts fp16; leave one out");
  rules.together("use_eaft_loss", !(c.use_dft_loss && c.use_eaft_loss),
                 "use_dft_loss and use_eaft_loss are two losses; leave one out");
  rules.range("max_grad_norm", c.max_grad_norm, !(c.max_grad_norm < 0), "use 0 (not clipped) or more");
  rules.range("num_train_epochs", c.num_train_epochs,
              finite(c.num_train_epochs) && (c.num_train_epochs > 0 || c.max_steps > 0), "use more than 0");
  rules.range("warmup_ratio", c.warmup_ratio, c.warmup_ratio >= 0 && c.warmup_ratio <= 1, "use 0 to 1");
  rules.range("warmup_steps", c.warmup_steps, c.warmup_steps >= 0, "use 0 or more");
  rules.range("seed", c.seed, c.seed >= 0 && c.seed <= 0xFFFFFFFFLL, "use 0 to 4294967295");
  rules.range("data_seed", c.data_seed.value_or(0), c.data_seed.value_or(0) >= 0, "use 0 or more");
  const double eval_steps = c.eval_steps.value_or(c.logging_steps);
  for (const auto& [key, strategy, steps] : {std::tuple{"logging_steps", &c.logging_strategy, c.logging_steps},
                                             std::tuple{"eval_steps", &c.eval_strategy, eval_steps},
                                             std::tuple{"save_steps", &c.save_strategy, c.save_steps}}) {
    rules.range(key, steps, *strategy != "steps" || (steps > 0 && finite(steps)), "use more than 0");
    rules.range(key, steps, !(steps > 1) || steps == std::floor(steps), "above 1 it must be a whole number");
  }
}

/// What evaluating needs besides LLaMA-Factory's own checks: transformers' TrainingArguments.__post_init__.
void check_evaluation(const RunConfig& c, Rules& rules) {
  rules.range("eval_delay", c.eval_delay, c.eval_delay >= 0 && std::isfinite(c.eval_delay), "use 0 or more");
  rules.range("early_stopping_steps", c.early_stopping_steps.value_or(1), c.early_stopping_steps.value_or(1) >= 1,
              "use 1 or more");
  const bool evaluates = c.eval_strategy != "no";
  for (const auto& [key, asked] : {std::pair{"early_stopping_steps", c.early_stopping_steps.has_value()},
                                   std::pair{"load_best_model_at_end", c.load_best_model_at_end},
                                   std::pair{"save_strategy", c.save_strategy == "best"}}) {
    rules.together(key, evaluates || !asked, fmt::format("{} needs an eval_strategy: steps or epoch", key));
  }
  rules.together("save_strategy", c.save_strategy != "best" || c.metric_for_best_model.has_value(),
                 "`metric_for_best_model` must be provided when using 'best' save_strategy");
  rules.together("do_predict", !c.do_predict || c.stage == "sft", "do_predict needs stage: sft");
  if (!c.load_best_model_at_end || c.eval_strategy != "steps" || c.save_strategy != "steps") return;
  const double eval_steps = c.eval_steps.value_or(c.logging_steps);
  const double ratio = c.save_steps / eval_steps;
  rules.together("load_best_model_at_end", std::abs(ratio - std::round(ratio)) < 1e-9 && ratio > 0.5,
                 fmt::format("--load_best_model_at_end requires the saving steps to be a multiple of the evaluation "
                             "steps, but found {}, which is not a multiple of {}",
                             c.save_steps, eval_steps));
}

void check_generation(const RunConfig& c, Rules& rules) {
  rules.range("temperature", c.temperature, !c.do_sample || c.temperature > 0, "use more than 0, or do_sample: false");
  rules.range("top_p", c.top_p, c.top_p > 0 && c.top_p <= 1, "use more than 0, up to 1");
  rules.range("top_k", c.top_k, c.top_k >= 0, "use 0 (all) or more");
  rules.range("repetition_penalty", c.repetition_penalty, c.repetition_penalty > 0, "use more than 0");
}

/// Ranges of the adapter keys; what LLaMA-Factory itself checks stands in validate_llamafactory.cpp.
void check_adapters(const RunConfig& c, Rules& rules) {
  rules.range("lora_rank", c.lora_rank, c.lora_rank >= 1, "use 1 or more");
  rules.range("lora_dropout", c.lora_dropout, c.lora_dropout >= 0 && c.lora_dropout < 1, "use 0 or more, less than 1");
  rules.range("lora_alpha", c.lora_alpha.value_or(1), std::isfinite(c.lora_alpha.value_or(1)), "use a finite number");
  rules.range("loraplus_lr_ratio", c.loraplus_lr_ratio.value_or(1), !(c.loraplus_lr_ratio.value_or(1) < 0),
              "use 0 or more");
  rules.range("pissa_iter", c.pissa_iter, c.pissa_iter >= -1 && c.pissa_iter <= 10000, "use -1 (exact) up to 10000");
  rules.range("neftune_noise_alpha", c.neftune_noise_alpha.value_or(0),
              c.neftune_noise_alpha.value_or(0) >= 0 && std::isfinite(c.neftune_noise_alpha.value_or(0)),
              "use 0 (none) or more");
  rules.range("export_size", c.export_size, c.export_size >= 1, "use 1 (GB) or more");
  rules.together("pissa_convert", !c.pissa_convert || c.pissa_init, "pissa_convert: true needs pissa_init: true");
}

void check_dstrain(const RunConfig& c, Rules& rules) {
  rules.together(
      "dataset_dir", c.dataset_dir != "ONLINE" && !c.dataset_dir.starts_with("REMOTE:"),
      fmt::format("key 'dataset_dir': {} is not supported: nothing is downloaded; give a folder", c.dataset_dir));
  rules.together("device", !(c.device == "cuda" && c.use_cpu), "use_cpu: true contradicts device: cuda; leave one out");
  rules.together("packing", !(c.neat_packing && c.packing == false),
                 "neat_packing: true contradicts packing: false; leave one out");
}

}  // namespace

void validate(const ResolvedConfig& resolved, const GivenValues& given, bool /*partial*/,
              std::vector<ConfigProblem>& problems) {
  Rules rules(resolved, problems);
  check_llamafactory(resolved, given, problems);
  check_data_keys(resolved, problems);
  check_sizes(resolved.config, rules);
  check_optimizer(resolved.config, rules);
  check_evaluation(resolved.config, rules);
  check_generation(resolved.config, rules);
  check_adapters(resolved.config, rules);
  check_dstrain(resolved.config, rules);
}

std::vector<ConfigProblem> missing_keys(const ResolvedConfig& resolved, const GivenValues& given) {
  std::vector<ConfigProblem> missing;
  const SaidValues said(resolved, given);
  if (resolved.config.model_name_or_path.empty())
    missing.emplace_back(Origin{}, "Please provide `model_name_or_path`.");
  const bool writes = said.on("do_train") || said.on("do_eval") || said.on("do_predict");
  if (writes && resolved.config.output_dir.empty()) {
    missing.emplace_back(Origin{}, "the following arguments are required: --output_dir");
  }
  return missing;
}

}  // namespace dstrain
