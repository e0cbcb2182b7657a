// SPDX-License-Identifier: Apache-2.0
/// DeepSpeed-Chat's step 1 (supervised fine-tuning) as a recipe: its flags and its defaults.
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "config/dialect_walker.hpp"
#include "config/dialects.hpp"

namespace dstrain {
namespace {

class ChatReader {
 public:
  ChatReader(const std::vector<std::string>& given, TrainerKeys& trainer) : given_(given), trainer_(trainer) {}

  Translation read(const ConfigValue& flags) {
    flags_ = &flags;
    walk_dialect(Dialect::deepspeed_chat, flags, trainer_,
                 [&](const KeySpec&, const std::string& path, const ConfigValue& value) { take(path, value); });
    datasets();
    defaults();
    deepspeed();
    return std::move(out_);
  }

 private:
  void add(std::string key, ConfigValue value) { out_.entries.push_back({std::move(key), std::move(value)}); }
  static ConfigValue recipe(std::string text) {
    return ConfigValue::scalar(std::move(text), {Origin::Source::file, "DeepSpeed-Chat's default", 0});
  }
  [[nodiscard]] bool is_given(std::string_view key) const {
    return std::find(given_.begin(), given_.end(), key) != given_.end();
  }
  [[nodiscard]] const ConfigValue* flag(std::string_view name) const { return flags_->find(name); }

  void take(const std::string& name, const ConfigValue& value) {
    if (name == "max_seq_len") add("cutoff_len", value);
    if (name == "num_warmup_steps") add("warmup_steps", value);
    if (name == "lora_dim" && to_integer(value).value_or(0) > 0) {
      add("finetuning_type", value_at(value, "lora"));
      add("lora_rank", value);
      add("lora_alpha", value_at(value, "1"));  // its scale is 1 / lora_dim
      trainer_.note(
          "lora_dim: only LoRA is trained here, with learning_rate; DeepSpeed-Chat would train it with "
          "lora_learning_rate (5e-4 unless said), and norms and embeddings beside it");
    }
    if (name == "lora_module_name" && to_integer_flag("lora_dim") > 0) {
      trainer_.note(fmt::format("lora_module_name: {}: every linear layer but the head gets LoRA (lora_target: all)",
                                value.shown()));
    }
    if (name == "lora_learning_rate" && to_integer_flag("lora_dim") > 0 && !is_given("learning_rate")) {
      add("learning_rate", value);
    }
  }

  [[nodiscard]] std::int64_t to_integer_flag(std::string_view name) const {
    const auto* value = flag(name);
    return value != nullptr ? to_integer(*value).value_or(0) : 0;
  }

  /// data_path and what only step 1 learns. `local/jsonfile` stands for two files beside the working directory, of
  /// which one is evaluated before the first epoch and after each.
  void datasets() {
    ConfigValue names;
    names.kind = ConfigValue::Kind::list;
    bool local = false;
    for (const char* key : {"data_path", "sft_only_data_path"}) {
      const auto* given = flag(key);
      const auto texts = given != nullptr ? to_text_list(*given) : std::nullopt;
      if (!texts || texts->empty()) continue;
      names.origin = given->origin;
      for (const auto& text : *texts) {
        local = local || text == "local/jsonfile";
        names.items.push_back(value_at(*given, text == "local/jsonfile" ? "data/train.json" : text));
      }
    }
    if (names.items.empty()) return;
    add("dataset", names);
    split(names.items.size());
    if (!local || is_given("eval_dataset") || is_given("val_size")) return;
    add("eval_dataset", value_at(names, "data/eval.json"));
    if (!is_given("eval_strategy")) add("eval_strategy", value_at(names, "epoch"));
    if (!is_given("eval_on_start")) add("eval_on_start", value_at(names, "true"));
    trainer_.note("data_path: local/jsonfile is data/train.json, with data/eval.json for evaluation");
  }

  /// Of data_path the first step takes a share, of sft_only_data_path everything.
  void split(std::size_t datasets) {
    const auto* given = flag("data_split");
    const auto* whole = flag("sft_only_data_path");
    const auto wholes = whole != nullptr ? to_text_list(*whole).value_or(std::vector<std::string>{}).size() : 0;
    const std::string shares = given != nullptr ? to_text(*given).value_or("2,4,4") : "2,4,4";
    std::string text;
    for (std::size_t i = 0; i < datasets; ++i)
      text += fmt::format("{}{}", text.empty() ? "" : "|", i + wholes < datasets ? shares : "10,0,0");
    add("data_split", given != nullptr ? value_at(*given, text) : recipe(text));
    if (given == nullptr)
      trainer_.note("data_split: 2,4,4 unless said: step 1 learns a fifth of data_path; --data_split 10,0,0 takes all");
  }

  /// What main.py would do without being told. Loss on prompts too; plain text ended by eos, no template's marks.
  void defaults() {
    const std::pair<const char*, const char*> values[] = {{"do_train", "true"},
                                                          {"stage", "sft"},
                                                          {"finetuning_type", "full"},
                                                          {"template", "deepspeed_chat"},
                                                          {"train_on_prompt", "true"},
                                                          {"per_device_train_batch_size", "16"},
                                                          {"per_device_eval_batch_size", "16"},
                                                          {"cutoff_len", "512"},
                                                          {"learning_rate", "1e-3"},
                                                          {"weight_decay", "0"},
                                                          {"adam_beta1", "0.9"},
                                                          {"adam_beta2", "0.95"},
                                                          {"num_train_epochs", "1"},
                                                          {"lr_scheduler_type", "cosine"},
                                                          {"seed", "1234"},
                                                          {"logging_steps", "10"},
                                                          {"save_strategy", "no"}};
    for (const auto& [key, text] : values) {
      const bool said = is_given(key) || std::any_of(out_.entries.begin(), out_.entries.end(),
                                                     [&, &name = key](const Entry& e) { return e.name == name; });
      if (!said) add(key, recipe(text));
    }
    const auto* type = flag("dtype");
    const std::string dtype = type != nullptr ? type->text : "fp16";
    if (!is_given("bf16") && !is_given("fp16")) add(dtype, type != nullptr ? value_at(*type, "true") : recipe("true"));
  }

  /// The file that main.py generates.
  void deepspeed() {
    put_at(out_.deepspeed, "gradient_clipping", recipe("1.0"));
    const auto* type = flag("dtype");
    if (type == nullptr || type->text == "fp16") {
      put_at(out_.deepspeed, "fp16.enabled", recipe("auto"));
      put_at(out_.deepspeed, "fp16.loss_scale_window", recipe("100"));
    }
    const auto* stage = flag("zero_stage");
    if (stage != nullptr) put_at(out_.deepspeed, "zero_optimization.stage", *stage);
    if (const auto* offload = flag("offload"); offload != nullptr && to_bool(*offload) == true) {
      put_at(out_.deepspeed, "zero_optimization.offload_optimizer.device", value_at(*offload, "cpu"));
      put_at(out_.deepspeed, "zero_optimization.offload_param.device", value_at(*offload, "cpu"));
    }
  }

  const std::vector<std::string>& given_;
  TrainerKeys& trainer_;
  const ConfigValue* flags_ = nullptr;
  Translation out_;
};

}  // namespace

Translation translate_deepspeed_chat(const ConfigValue& flags, const std::vector<std::string>& given,
                                     TrainerKeys& trainer) {
  return ChatReader(given, trainer).read(flags);
}

}  // namespace dstrain
