// SPDX-License-Identifier: Apache-2.0
/// LLaMA-Factory's FinetuningArguments: what is trained, and by which objective.
#include "config/key_schema.hpp"

namespace dstrain::keys {
namespace {
constexpr std::string_view kLoraOnly = "only read with finetuning_type: lora, which is not supported yet";
constexpr std::string_view kFreezeOnly = "only read with finetuning_type: freeze, which is not supported yet";
constexpr std::string_view kNoLora = "not supported yet; use finetuning_type: full";
constexpr std::string_view kPreferenceOnly = "only read by stage: dpo and kto, which are not supported yet";
constexpr std::string_view kPpoOnly = "only read by stage: ppo, which is not supported yet";
}  // namespace

std::vector<KeySpec> finetuning() {
  using C = RunConfig;
  using enum ValueType;
  return {
      runs("stage", &C::stage, "What is learned: sft (answers) or pt (plain text)")
          .choices("sft|pt")
          .not_yet("rm|ppo|dpo|kto", "only sft and pt run so far"),
      runs("finetuning_type", &C::finetuning_type, "Which weights are trained")
          .choices("full")
          .not_yet("lora|freeze|oft", "all weights are trained so far; say finetuning_type: full"),
      runs("disable_shuffling", &C::disable_shuffling, "Keep the order of the rows"),
      runs("plot_loss", &C::plot_loss,
           "Draw training_loss.png (and training_eval_loss.png, training_eval_accuracy.png) at the end"),
      noted("lora_rank", integer, "8", "LoRA", kLoraOnly),
      noted("lora_alpha", number, "null", "LoRA", kLoraOnly),
      noted("lora_dropout", number, "0.0", "LoRA", kLoraOnly),
      noted("lora_target", list, "all", "LoRA", kLoraOnly),
      noted("additional_target", list, "null", "LoRA: further modules to train", kLoraOnly),
      noted("create_new_adapter", boolean, "false", "LoRA: merge the old adapter and start a new one", kLoraOnly),
      refused("loraplus_lr_ratio", number, "null", "LoRA+", kNoLora),
      noted("loraplus_lr_embedding", number, "1e-06", "LoRA+", kLoraOnly),
      refused("use_rslora", boolean, "false", "Rank-stabilised LoRA", kNoLora),
      refused("use_dora", boolean, "false", "DoRA", kNoLora),
      refused("pissa_init", boolean, "false", "PiSSA", kNoLora),
      noted("pissa_iter", integer, "16", "PiSSA", kLoraOnly),
      refused("pissa_convert", boolean, "false", "PiSSA", kNoLora),
      noted("freeze_trainable_layers", integer, "2", "Layers to train", kFreezeOnly),
      noted("freeze_trainable_modules", list, "all", "Modules to train", kFreezeOnly),
      noted("freeze_extra_modules", list, "null", "Further modules to train", kFreezeOnly),
      refused("use_llama_pro", boolean, "false", "Train the added blocks only",
              "not supported yet; use finetuning_type: full"),
      noted("pref_beta", number, "0.1", "Preference learning", kPreferenceOnly),
      noted("pref_ftx", number, "0.0", "Preference learning", kPreferenceOnly),
      noted("pref_loss", text, "sigmoid", "Preference learning", kPreferenceOnly),
      noted("pref_bco_weight", number, "0.0", "Preference learning", kPreferenceOnly),
      noted("dpo_label_smoothing", number, "0.0", "Preference learning", kPreferenceOnly),
      noted("kto_chosen_weight", number, "1.0", "Preference learning", kPreferenceOnly),
      noted("kto_rejected_weight", number, "1.0", "Preference learning", kPreferenceOnly),
      noted("simpo_gamma", number, "0.5", "Preference learning", kPreferenceOnly),
      noted("ld_alpha", number, "null", "Preference learning", kPreferenceOnly),
      noted("ref_model", text, "null", "Reference model", kPreferenceOnly),
      noted("ref_model_adapters", text, "null", "Reference model", kPreferenceOnly),
      refused("ref_model_quantization_bit", integer, "null", "Reference model",
              "leave it out; models are read in full precision"),
      noted("ppo_buffer_size", integer, "1", "PPO", kPpoOnly),
      noted("ppo_epochs", integer, "4", "PPO", kPpoOnly),
      noted("ppo_score_norm", boolean, "false", "PPO", kPpoOnly),
      noted("ppo_target", number, "6.0", "PPO", kPpoOnly),
      noted("ppo_whiten_rewards", boolean, "false", "PPO", kPpoOnly),
      noted("reward_model", text, "null", "PPO", kPpoOnly),
      noted("reward_model_adapters", text, "null", "PPO", kPpoOnly),
      refused("reward_model_quantization_bit", integer, "null", "PPO",
              "leave it out; models are read in full precision"),
      noted("reward_model_type", text, "lora", "PPO", kPpoOnly),
      runs("compute_accuracy", &C::compute_accuracy, "Evaluations also give the token accuracy"),
      runs("early_stopping_steps", &C::early_stopping_steps,
           "Stop after so many evaluations in a row without a better metric_for_best_model"),
      noted("include_effective_tokens_per_second", boolean, "false", "Tokens per second without padding",
            "tokens_per_second in trainer_log.jsonl and train_results.json counts no padding"),
  };
}

}  // namespace dstrain::keys
