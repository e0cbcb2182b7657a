// SPDX-License-Identifier: Apache-2.0
/// LLaMA-Factory's cross-checks, in its own words.
#include <fmt/core.h>

#include <array>

#include "config/key_schema.hpp"
#include "config/validate.hpp"
#include "config/yaml_reader.hpp"

namespace dstrain {

ConfigValue SaidValues::value(std::string_view key) const {
  const auto* row = find_key(key);
  const auto it = given_.find(key);
  if (it != given_.end() && (row == nullptr || type_problem(*row, it->second).empty())) return it->second;
  if (row == nullptr) return {};
  return read_argument(row->action == KeyClass::runs ? value_text(*row, resolved_.config) : default_text(*row));
}

bool SaidValues::on(std::string_view key) const { return to_bool(value(key)).value_or(false); }
double SaidValues::number(std::string_view key) const { return to_number(value(key)).value_or(0.0); }
std::string SaidValues::word(std::string_view key) const { return to_text(value(key)).value_or(""); }
std::vector<std::string> SaidValues::list(std::string_view key) const {
  return to_text_list(value(key)).value_or(std::vector<std::string>{});
}
bool SaidValues::has(std::string_view key) const { return !list(key).empty() || value(key).is_map(); }

Origin SaidValues::origin(std::string_view key) const {
  const auto it = given_.find(key);
  return it == given_.end() ? resolved_.origin(key) : it->second.origin;
}

namespace {

class Checks {
 public:
  Checks(const ResolvedConfig& resolved, const GivenValues& given, std::vector<ConfigProblem>& problems)
      : said_(resolved, given),
        problems_(problems),
        zero3_(resolved.config.zero_stage == 3 && resolved.config.deepspeed) {
    stage_ = said_.word("stage");
    type_ = said_.word("finetuning_type");
  }

  void all() {
    methods();
    losses();
    stages();
    evaluation();
    deepspeed();
    saving();
  }

 private:
  /// A rule; `key` is the one whose line is named.
  void together(std::string_view key, bool good, std::string text) {
    if (!good) problems_.push_back({said_.origin(key), std::move(text)});
  }

  void methods() {
    const bool lora = type_ == "lora";
    together("split_special_tokens", !(said_.on("split_special_tokens") && said_.on("use_fast_tokenizer")),
             "`split_special_tokens` is only supported for slow tokenizers; set use_fast_tokenizer: false.");
    for (const char* key : {"use_dora", "use_rslora", "pissa_init"}) {
      together(key, lora || !said_.on(key), fmt::format("`{}` is only valid for LoRA training.", key));
    }
    together("loraplus_lr_ratio", lora || !said_.has("loraplus_lr_ratio"),
             "`loraplus_lr_ratio` is only valid for LoRA training.");
    together("adapter_name_or_path", lora || !said_.has("adapter_name_or_path"),
             "Adapter is only valid for the LoRA method.");
    together("use_llama_pro", type_ != "full" || !said_.on("use_llama_pro"),
             "`use_llama_pro` is only valid for Freeze or LoRA training.");
    together("pissa_init", !said_.on("pissa_init") || (stage_ != "ppo" && stage_ != "kto" && !said_.has("ref_model")),
             "Cannot use PiSSA for current training stage.");
    const int optimizers =
        (said_.on("use_galore") ? 1 : 0) + (said_.on("use_apollo") ? 1 : 0) + (said_.on("use_badam") ? 1 : 0);
    together(said_.on("use_badam") ? "use_badam" : "use_apollo", optimizers <= 1,
             "Cannot use GaLore, APOLLO or BAdam together.");
  }

  void losses() {
    together("reward_model", stage_ != "ppo" || said_.has("reward_model"),
             "`reward_model` is necessary for PPO training.");
    together("reward_model_type", stage_ != "ppo" || type_ == "lora" || said_.word("reward_model_type") != "lora",
             "`reward_model_type` cannot be lora for Freeze/Full PPO training.");
    together("dpo_label_smoothing",
             stage_ != "dpo" || said_.word("pref_loss") == "sigmoid" || said_.number("dpo_label_smoothing") <= 1e-6,
             "`dpo_label_smoothing` is only valid for sigmoid loss function.");
    together("mask_history", !(said_.on("mask_history") && said_.on("train_on_prompt")),
             "`mask_history` is incompatible with `train_on_prompt`.");
  }

  void stages() {
    if (stage_ == "sft") {
      together("do_predict", !said_.on("do_predict") || said_.on("predict_with_generate"),
               "Please enable `predict_with_generate` to save model predictions.");
      together("compute_accuracy", !(said_.on("predict_with_generate") && said_.on("compute_accuracy")),
               "Cannot use `predict_with_generate` and `compute_accuracy` together.");
    } else {
      together("predict_with_generate", !said_.on("predict_with_generate"),
               "`predict_with_generate` cannot be set as True except SFT.");
      together("neat_packing", !said_.on("neat_packing"), "`neat_packing` cannot be set as True except SFT.");
      for (const char* key : {"train_on_prompt", "mask_history"}) {
        together(key, !said_.on(key), "`train_on_prompt` or `mask_history` cannot be set as True except SFT.");
      }
    }
    const bool scored = stage_ == "rm" || stage_ == "ppo";
    together("load_best_model_at_end", !scored || !said_.on("load_best_model_at_end"),
             "RM and PPO stages do not support `load_best_model_at_end`.");
    together("stage", stage_ != "ppo" || said_.on("do_train"),
             "PPO training does not support evaluation, use the SFT stage to evaluate models.");
  }

  void evaluation() {
    together("do_train", !said_.on("do_train") || said_.has("dataset"), "Please specify dataset for training.");
    const bool evaluates = said_.on("do_eval") || said_.on("do_predict") ||
                           (said_.has("eval_strategy") && said_.word("eval_strategy") != "no");
    together(said_.on("do_predict") ? "do_predict"
             : said_.on("do_eval")  ? "do_eval"
                                    : "eval_strategy",
             !evaluates || said_.has("eval_dataset") || said_.number("val_size") > 1e-6,
             "Please specify dataset for evaluation.");
    together("val_size", said_.number("val_size") <= 1e-6 || said_.has("dataset"),
             "Cannot specify `val_size` if `dataset` is None.");
  }

  void deepspeed() {
    for (const char* key : {"pure_bf16", "pissa_init"}) {
      together(key, !zero3_ || !said_.on(key), fmt::format("`{}` is incompatible with DeepSpeed ZeRO-3.", key));
    }
    together("fp16", !(said_.on("fp16") && said_.on("bf16")), "At most one of fp16 and bf16 can be True, but not both");
  }

  /// transformers' own.
  void saving() {
    if (!said_.on("load_best_model_at_end")) return;
    const auto save = said_.word("save_strategy"), evaluate = said_.word("eval_strategy");
    together("load_best_model_at_end", save == "best" || save == evaluate,
             fmt::format("--load_best_model_at_end requires the save and eval strategy to match, but found evaluation "
                         "strategy: {}, save strategy: {}",
                         evaluate.empty() ? "no" : evaluate, save));
  }

  SaidValues said_;
  std::vector<ConfigProblem>& problems_;
  bool zero3_;
  std::string stage_, type_;
};

}  // namespace

void check_llamafactory(const ResolvedConfig& resolved, const GivenValues& given,
                        std::vector<ConfigProblem>& problems) {
  Checks(resolved, given, problems).all();
}

}  // namespace dstrain
