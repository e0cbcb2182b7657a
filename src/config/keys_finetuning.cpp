// SPDX-License-Identifier: Apache-2.0
/// LLaMA-Factory's FinetuningArguments: what is trained, and by which objective.
#include "config/key_schema.hpp"

namespace dstrain::keys {
namespace {
constexpr std::string_view kPreferenceOnly = "only read by stage: dpo and kto, which are not supported yet";
constexpr std::string_view kPpoOnly = "only read by stage: ppo, which is not supported yet";
}  // namespace

std::vector<KeySpec> finetuning() {
  using C = RunConfig;
  using enum ValueType;
  return {
      runs("stage", &C::stage,
           "What is learned: sft (answers) or pt (plain text). `dstrain data` shows the rows of all; rm, ppo, dpo and "
           "kto do "
           "not train yet")
          .choices("sft|pt|rm|ppo|dpo|kto"),
      runs("finetuning_type", &C::finetuning_type, "Which weights are trained")
          .choices("full|freeze|lora")
          .not_yet("oft", "use lora"),
      runs("disable_shuffling", &C::disable_shuffling, "Keep the order of the rows"),
      runs("plot_loss", &C::plot_loss,
           "Draw training_loss.png (and training_eval_loss.png, training_eval_accuracy.png) at the end"),
      runs("lora_rank", &C::lora_rank, "Rank of the adapters"),
      runs("lora_alpha", &C::lora_alpha, "Scale of the adapters times their rank; null: twice lora_rank"),
      runs("lora_dropout", &C::lora_dropout, "Share of an adapter's input that is dropped in training"),
      runs("lora_target", &C::lora_target, "Modules that get an adapter: last parts of their names, or all"),
      runs("additional_target", &C::additional_target, "Modules that are trained whole beside the adapters"),
      runs("create_new_adapter", &C::create_new_adapter, "Merge all of adapter_name_or_path and start a new adapter"),
      runs("loraplus_lr_ratio", &C::loraplus_lr_ratio, "LoRA+: learning rate of B over that of A"),
      runs("loraplus_lr_embedding", &C::loraplus_lr_embedding, "LoRA+: learning rate of adapted embeddings"),
      runs("use_rslora", &C::use_rslora, "Scale adapters by alpha / sqrt(rank)"),
      runs("use_dora", &C::use_dora, "Train magnitudes and directions apart (DoRA)"),
      runs("pissa_init", &C::pissa_init, "Start adapters as the largest singular directions (PiSSA)"),
      runs("pissa_iter", &C::pissa_iter, "PiSSA: rounds of the fast decomposition; -1: the exact one"),
      runs("pissa_convert", &C::pissa_convert, "PiSSA: write the result as a plain adapter too"),
      runs("freeze_trainable_layers", &C::freeze_trainable_layers,
           "freeze: last n blocks are trained, below 0 the first n"),
      runs("freeze_trainable_modules", &C::freeze_trainable_modules, "freeze: modules of these blocks, or all"),
      runs("freeze_extra_modules", &C::freeze_extra_modules, "freeze: modules outside the blocks"),
      runs("use_llama_pro", &C::use_llama_pro, "Train the last block of each of freeze_trainable_layers equal runs"),
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
      runs("include_effective_tokens_per_second", &C::include_effective_tokens_per_second,
           "Add effective_tokens_per_sec, tokens without padding of one rank, to train_results.json (sft)"),
  };
}

}  // namespace dstrain::keys
