// SPDX-License-Identifier: Apache-2.0
#include "config/resolve.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>

#include "config/accelerator_config.hpp"
#include "config/config_paths.hpp"
#include "config/deepspeed_config.hpp"
#include "config/entries.hpp"
#include "config/implied_keys.hpp"
#include "config/key_schema.hpp"
#include "config/translate.hpp"
#include "config/validate.hpp"
#include "config/yaml_reader.hpp"
#include "core/error.hpp"

namespace dstrain {
namespace {

/// Passwords are never shown, not even in an error.
bool is_secret(std::string_view key) {
  return key.ends_with("_token") || key.ends_with("_api_key") || key.ends_with("_secret") || key.ends_with("_url");
}

class Resolver : public TrainerKeys {
 public:
  Resolver(const Arguments& arguments, const FileAccess& files, const ResolveOptions& options)
      : arguments_(arguments), files_(files), options_(options) {}

  ResolvedConfig run() {
    auto input = translate_input(arguments_, files_, *this);
    deepspeed_ = std::move(input.deepspeed);
    partial_ = input.partial;
    for (const auto& entry : merge_entries(std::move(input.base), input.file, input.arguments, out_.notes, problems_)) {
      given_.insert_or_assign(entry.name, entry.value);
      take(entry);
    }
    resolve_paths();
    if (!deepspeed_.is_null()) apply_deepspeed(deepspeed_, *this);
    if (input.trainers_decay) keep_trainers_decay();
    settle();
    validate(out_, given_, partial_, problems_);
    finish();
    return std::move(out_);
  }

  // TrainerKeys
  [[nodiscard]] const ConfigValue* given(std::string_view key) const override {
    const auto it = given_.find(key);
    return it == given_.end() ? nullptr : &it->second;
  }
  [[nodiscard]] RunConfig& config() override { return out_.config; }
  [[nodiscard]] int ranks() const override { return out_.config.virtual_ranks.value_or(options_.world_size); }
  [[nodiscard]] std::optional<std::int64_t> hidden_size() const override {
    return hidden_size_of(out_.config.model_name_or_path, files_);
  }
  void set(std::string_view key, const ConfigValue& value) override { take({std::string(key), value}); }
  void set_origin(std::string_view key, const Origin& origin) override { out_.origins[std::string(key)] = origin; }
  void note(std::string text) override { out_.notes.push_back(std::move(text)); }
  void problem(const Origin& origin, std::string text) override { problems_.push_back({origin, std::move(text)}); }

 private:
  /// The section brings decay of every tensor with it; where it says nothing else, the trainer's keys hold all of it.
  void keep_trainers_decay() {
    auto& section = out_.config.deepspeed_optimizer;
    if (!section || !section->type.starts_with("Adam")) return;
    if (section->number_or("adam_w_mode", 1) == 0 || section->number_or("bias_correction", 1) == 0) return;
    section.reset();
    out_.origins.erase("deepspeed_optimizer");
  }

  void take(const Entry& entry) {
    const auto* key = find_key(entry.name);
    if (key == nullptr) return unknown(entry);
    switch (key->action) {
      case KeyClass::runs:
        return take_running(*key, entry.value);
      case KeyClass::noted:
      case KeyClass::refused:
        return take_idle(*key, entry.value);
    }
  }

  void unknown(const Entry& entry) {
    if (options_.allow_extra_args) {
      return note(fmt::format("unknown key '{}' is left out (ALLOW_EXTRA_ARGS)", entry.name));
    }
    if (find_key(Dialect::deepspeed, entry.name) != nullptr || is_section(Dialect::deepspeed, entry.name)) {
      return problem(entry.value.origin,
                     fmt::format("unknown key '{}': it is one of DeepSpeed's file; put it there, or below `deepspeed:`",
                                 entry.name));
    }
    for (const auto dialect : {Dialect::gdgpt, Dialect::deepspeed_chat, Dialect::accelerate}) {
      const auto* row = find_key(dialect, entry.name);
      if (row == nullptr || row->action != KeyClass::runs) continue;
      return problem(entry.value.origin, fmt::format("unknown key '{}': it is one of {}; here it is {}", entry.name,
                                                     title_of(dialect), row->target));
    }
    const auto near = nearest_key(entry.name);
    problem(entry.value.origin,
            fmt::format("unknown key '{}'{}", entry.name, near.empty() ? "" : fmt::format("; did you mean {}?", near)));
  }

  void take_running(const KeySpec& key, ConfigValue value) {
    if (key.name == "deepspeed" && value.is_map()) {
      deepspeed_ = value;
      value = ConfigValue::scalar("(in the configuration)", value.origin);
    }
    if (key.name == "max_grad_norm" && value.is_null()) value = ConfigValue::scalar("0", value.origin);
    if (key.name == "warmup_steps" && is_share(value)) return take_running(*find_key("warmup_ratio"), value);
    if (auto wrong = assign(key, value, out_.config); !wrong.empty()) {
      return problem(value.origin, fmt::format("key '{}': {}", key.name, wrong));
    }
    const bool kept = value.is_null() && default_text(key) != "null" && default_text(key) != "[]";
    if (kept) note(fmt::format("key '{}' is empty: the default {} stays", key.name, default_text(key)));
    out_.origins[std::string(key.name)] = value.origin;
  }

  /// transformers 5 writes a share of the steps where a count used to be.
  static bool is_share(const ConfigValue& value) {
    const auto number = to_number(value);
    return number && *number > 0 && *number < 1;
  }

  void take_idle(const KeySpec& key, const ConfigValue& value) {
    if (is_off(key, value)) return;
    if (auto wrong = type_problem(key, value); !wrong.empty()) {
      return problem(value.origin,
                     fmt::format("key '{}': {}", key.name, is_secret(key.name) ? "is not a text" : wrong));
    }
    if (auto wrong = choice_problem(key, value); !wrong.empty()) {
      return problem(value.origin, fmt::format("key '{}': {}", key.name, wrong));
    }
    if (key.name == "accelerator_config") {
      if (auto wrong = accelerator_config_problem(value); !wrong.empty()) {
        problem(value.origin, fmt::format("key '{}': {}", key.name, wrong));
      } else if (splits_batches(value)) {
        split_batches_ = value.origin;
      }
      return;
    }
    if (key.action == KeyClass::refused) {
      return problem(value.origin, fmt::format("key '{}': {}", key.name, refusal(value, key.why)));
    }
    note(fmt::format("key '{}' has no effect in dstrain ({})", key.name, key.why));
  }

  void resolve_paths() {
    for (const auto& key : all_keys()) {
      if (!key.is_path) continue;
      if (const auto* plain = std::get_if<std::string RunConfig::*>(&key.member)) {
        resolve_path(key.name, out_.config.*(*plain));
      } else if (const auto* optional = std::get_if<std::optional<std::string> RunConfig::*>(&key.member)) {
        if (auto& value = out_.config.*(*optional)) resolve_path(key.name, *value);
      } else if (const auto* list = std::get_if<std::vector<std::string> RunConfig::*>(&key.member)) {
        for (auto& value : out_.config.*(*list)) resolve_path(key.name, value);
      }
    }
    if (out_.config.deepspeed && deepspeed_.is_null()) read_deepspeed(*out_.config.deepspeed);
    if (out_.config.new_special_tokens_config) take_special_tokens(*out_.config.new_special_tokens_config);
  }

  /// LLaMA-Factory's order: the file's tokens replace those of the key.
  void take_special_tokens(const std::string& file) {
    auto& list = out_.config.add_special_tokens;
    if (!list.empty()) note("new_special_tokens_config: its tokens take the place of add_special_tokens");
    try {
      list = read_special_tokens(file, files_);
    } catch (const ConfigError& wrong) {
      problem(out_.origin("new_special_tokens_config"),
              fmt::format("key 'new_special_tokens_config': {}: {}", file, wrong.what()));
    }
  }

  /// The working directory first, then beside the configuration file; absolute paths and words that are no path stay.
  void resolve_path(std::string_view key, std::string& value) {
    if (value.empty() || !out_.origins.contains(key) || is_word(key, value)) return;
    auto found = find_path(value, arguments_.config_file, files_);
    if (!found.found) {
      if (key == "model_name_or_path") missing_model(value);
      return;
    }
    if (found.path != value) {
      note(fmt::format("{}: {} is taken from {}: {}", key, value, found.where, found.path));
    } else if (!found.where.empty() && arguments_.config_file) {
      note(fmt::format("{}: {} is taken from {}", key, value, found.where));
    }
    value = std::move(found.path);
  }

  /// Values of path keys that are not paths.
  static bool is_word(std::string_view key, const std::string& value) {
    if (key == "model_name_or_path") return value.starts_with("preset:");
    if (key == "dataset_dir") return value == "ONLINE" || value.starts_with("REMOTE:");
    if (key == "resume_from_checkpoint") return to_bool(ConfigValue::scalar(value)).has_value();
    return value == "(in the configuration)";
  }

  void missing_model(const std::string& value) {
    std::string text =
        fmt::format("model_name_or_path: {} is no local folder; there is no hub access, give a local path", value);
    if (options_.inputs_must_exist) {
      problem(out_.origin("model_name_or_path"), std::move(text));
    } else {
      note(std::move(text));
    }
  }

  void read_deepspeed(const std::string& name) {
    auto text = read_deepspeed_text(name, files_);
    std::string file = files_.exists(name) ? name : "(base64)";
    if (!text) {
      text = deepspeed_file_of_that_name(name);
      file = "dstrain's " + std::filesystem::path(name).filename().string();
      if (text)
        note(fmt::format(
            "deepspeed: {} is not there; dstrain's own file of that name is used: its stage, all else auto", name));
    }
    if (!text)
      return problem(out_.origin("deepspeed"),
                     fmt::format("key 'deepspeed': cannot read {} (looked in the working directory{})", name,
                                 arguments_.config_file ? " and beside the configuration file" : ""));
    try {
      deepspeed_ = read_yaml(*text, file, Origin::Source::deepspeed);
    } catch (const ConfigError& wrong) {
      return problem(out_.origin("deepspeed"), fmt::format("key 'deepspeed': {} ({})", wrong.what(), wrong.where()));
    }
    if (!deepspeed_.is_map()) {
      problem(out_.origin("deepspeed"), fmt::format("key 'deepspeed': {} is no mapping", name));
      deepspeed_ = {};
    }
  }

  /// What LLaMA-Factory derives after reading.
  void settle() {
    auto& c = out_.config;
    if (split_batches_) {
      const auto wrong = divide_batches(c, ranks());
      if (!wrong.empty()) problem(*split_batches_, fmt::format("key 'accelerator_config': split_batches: {}", wrong));
    }
    if (c.neat_packing && !c.packing) c.packing = true;
    follow_second_keys(c, out_.origins.contains("reduce_bucket_size"), out_.notes);
    if (c.use_cpu && c.device == "auto") c.device = "cpu";
    note_substitutes(c, out_.notes);
    if (c.resume_from_checkpoint) {
      const auto on = to_bool(ConfigValue::scalar(*c.resume_from_checkpoint));
      if (on) c.resume_from_checkpoint = *on ? "true" : "false";
    }
  }

  /// Places without a line, and what a run needs beyond what is there.
  void finish() {
    const Origin whole{Origin::Source::file, arguments_.config_file.value_or("command line"), 0};
    for (auto& wrong : problems_) {
      if (wrong.origin.source == Origin::Source::initial) wrong.origin = whole;  // a key that is missing has no line
    }
    auto missing = missing_keys(out_, given_);
    for (auto& one : missing) one.origin = whole;
    if (!options_.may_be_incomplete) {
      problems_.insert(problems_.end(), missing.begin(), missing.end());
    } else if (!partial_) {
      out_.missing = std::move(missing);
    }
    throw_problems(problems_);
  }

  const Arguments& arguments_;
  const FileAccess& files_;
  const ResolveOptions& options_;
  ResolvedConfig out_;
  std::map<std::string, ConfigValue, std::less<>> given_;  // what the user wrote, under today's names
  ConfigValue deepspeed_;
  std::optional<Origin> split_batches_;  // accelerator_config's
  bool partial_ = false;                 // the file is not a run's own: DeepSpeed's or accelerate's alone
  std::vector<ConfigProblem> problems_;
};

}  // namespace

ResolvedConfig resolve_config(const Arguments& arguments, const FileAccess& files, const ResolveOptions& options) {
  return Resolver(arguments, files, options).run();
}

ResolvedConfig resolve_config(const std::vector<std::string>& words, const FileAccess& files, ResolveOptions options) {
  if (const char* extra = std::getenv("ALLOW_EXTRA_ARGS")) {
    options.allow_extra_args = to_bool(ConfigValue::scalar(extra)).value_or(false);
  }
  return resolve_config(parse_arguments(words), files, options);
}

}  // namespace dstrain
