// SPDX-License-Identifier: Apache-2.0
#include "config/deepspeed_config.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "config/key_schema.hpp"
#include "config/yaml_reader.hpp"

namespace dstrain {
namespace {

bool is_auto(const ConfigValue& value) { return value.kind == ConfigValue::Kind::scalar && value.text == "auto"; }

const DeepSpeedKey* find_row(std::string_view path) {
  const auto rows = deepspeed_keys();
  const auto exact = std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.name == path; });
  if (exact != rows.end()) return &*exact;
  const auto section = std::find_if(rows.begin(), rows.end(), [&](const auto& row) {
    return row.name.ends_with(".*") && path.starts_with(row.name.substr(0, row.name.size() - 1));
  });
  return section == rows.end() ? nullptr : &*section;
}

bool is_section(std::string_view path) {
  const auto rows = deepspeed_keys();
  return std::any_of(rows.begin(), rows.end(), [&](const auto& row) {
    return row.name.size() > path.size() && row.name.starts_with(path) && row.name[path.size()] == '.';
  });
}

class DeepSpeedReader {
 public:
  DeepSpeedReader(const ResolveOptions& options, ResolvedConfig& resolved, std::vector<ConfigProblem>& problems)
      : options_(options), resolved_(resolved), config_(resolved.config), problems_(problems) {}

  void read(const ConfigValue& file) {
    walk(file, "");
    check_batch_sizes(file);
    if (file.find("gradient_clipping") == nullptr) absent_clipping();
    if (!without_effect_.empty()) {
      resolved_.notes.push_back(fmt::format("DeepSpeed keys without effect in dstrain: {}", without_effect_));
    }
  }

 private:
  void problem(const ConfigValue& value, std::string text) { problems_.push_back({value.origin, std::move(text)}); }
  [[nodiscard]] bool user_set(std::string_view key) const { return resolved_.origins.contains(key); }

  void walk(const ConfigValue& section, const std::string& prefix) {
    for (const auto& [name, value] : section.members) {
      const std::string path = prefix.empty() ? name : prefix + "." + name;
      if (path == "zero_optimization" && to_bool(value)) {  // before 2021 the section was a switch for stage 1
        take_stage(value, *to_bool(value) ? 1 : 0);
      } else if (const auto* row = find_row(path)) {
        handle(*row, path, value);
      } else if (is_section(path) && (value.is_map() || value.is_null())) {
        walk(value, path);
      } else if (is_section(path)) {
        problem(value, fmt::format("key '{}': {} is not a section", path, value.shown()));
      } else {
        unknown(path, value);
      }
    }
  }

  void unknown(const std::string& path, const ConfigValue& value) {
    std::vector<std::string_view> names;
    for (const auto& row : deepspeed_keys()) {
      names.push_back(row.name.ends_with(".*") ? row.name.substr(0, row.name.size() - 2) : row.name);
      if (const auto dot = row.name.find('.'); dot != std::string_view::npos) names.push_back(row.name.substr(0, dot));
    }
    const auto near = nearest_word(path, names);
    problem(value, fmt::format("unknown DeepSpeed key '{}'{}", path,
                               near.empty() ? "" : fmt::format("; did you mean {}?", near)));
  }

  void handle(const DeepSpeedKey& row, const std::string& path, const ConfigValue& value) {
    using Action = DeepSpeedKey::Action;
    if (is_auto(value)) return automatic(path);
    switch (row.action) {
      case Action::reads:
        return take(path, value);
      case Action::noted:
        without_effect_ += (without_effect_.empty() ? "" : ", ") + path;
        return;
      case Action::refused:
        if (path.find("offload_") != std::string::npos && offload_is_off(value)) return;
        const auto words = split_words(row.off);
        const bool off = value.is_null() || std::any_of(words.begin(), words.end(), [&](auto word) {
                           return same_value(read_argument(std::string(word)), value);
                         });
        if (!off) problem(value, fmt::format("key '{}': {}", path, refusal(value, row.why)));
        return;
    }
  }

  static bool offload_is_off(const ConfigValue& value) {
    const auto* device = value.find("device");
    return value.is_map() && (device == nullptr || device->is_null() || device->text == "none");
  }

  /// "auto" keeps the trainer's value; where DeepSpeed derives one from the model instead, say which one stays.
  void automatic(const std::string& path) {
    for (const auto& [name, kept] : {std::pair{"reduce_bucket_size", config_.reduce_bucket_size},
                                     std::pair{"stage3_prefetch_bucket_size", config_.stage3_prefetch_bucket_size}}) {
      if (path == fmt::format("zero_optimization.{}", name)) {
        resolved_.notes.push_back(
            fmt::format("DeepSpeed's {}: auto keeps {} elements (it changes no result)", name, kept));
      }
    }
  }

  void take(const std::string& path, const ConfigValue& value) {
    if (path == "zero_optimization.stage") {
      const auto stage = to_integer(value);
      if (!stage || *stage < 0 || *stage > 3)
        return problem(value, fmt::format("key '{}': {} is not 0, 1, 2 or 3", path, value.shown()));
      take_stage(value, static_cast<int>(*stage));
    } else if (path == "zero_optimization.reduce_bucket_size") {
      take_count("reduce_bucket_size", path, value, config_.reduce_bucket_size);
    } else if (path.ends_with("prefetch_bucket_size")) {
      take_count("stage3_prefetch_bucket_size", path, value, config_.stage3_prefetch_bucket_size);
    } else if (path == "bf16.enabled" || path == "bfloat16.enabled") {
      take_switch("bf16", path, value, config_.bf16);
    } else if (path == "dataloader_drop_last") {
      take_switch("dataloader_drop_last", path, value, config_.dataloader_drop_last);
    } else if (path == "gradient_clipping") {
      take_clipping(value);
    } else if (path == "optimizer") {
      check_optimizer(value);
    }
    // the batch sizes are compared together: check_batch_sizes
  }

  /// Whether the trainer's own value of `key` stays: said on the command line, or equal. Else the caller takes
  /// DeepSpeed's.
  template <typename T>
  bool trainer_keeps(std::string_view key, const ConfigValue& value, const T& theirs, const T& ours) {
    if (!user_set(key)) return false;
    if (theirs == ours) return true;
    if (resolved_.origin(key).source == Origin::Source::command_line) {
      resolved_.notes.push_back(
          fmt::format("{}: {} (command line) overrides {} ({})", key, ours, theirs, value.origin.text()));
    } else {
      problem(value, fmt::format("DeepSpeed says {}={}, {} says {}; say it once, or \"auto\" in DeepSpeed's file", key,
                                 theirs, resolved_.origin(key).text(), ours));
    }
    return true;
  }

  void take_stage(const ConfigValue& value, int stage) {
    if (trainer_keeps("zero_stage", value, stage, config_.zero_stage)) return;
    config_.zero_stage = stage;
    resolved_.origins["zero_stage"] = value.origin;
  }

  void take_count(std::string_view key, const std::string& path, const ConfigValue& value, std::int64_t& member) {
    const auto count = to_integer(value);
    if (!count || *count < 1)
      return problem(value, fmt::format("key '{}': {} is not a whole number of 1 or more", path, value.shown()));
    if (trainer_keeps(key, value, *count, member)) return;
    member = *count;
    resolved_.origins[std::string(key)] = value.origin;
  }

  void take_switch(std::string_view key, const std::string& path, const ConfigValue& value, bool& member) {
    const auto on = to_bool(value);
    if (!on) return problem(value, fmt::format("key '{}': {} is not true or false", path, value.shown()));
    if (trainer_keeps(key, value, *on, member) || *on == member) return;
    member = *on;
    resolved_.origins[std::string(key)] = value.origin;
  }

  void take_clipping(const ConfigValue& value) {
    const auto norm = to_number(value);
    if (!norm || *norm < 0)
      return problem(value, fmt::format("key 'gradient_clipping': {} is not a number of 0 or more", value.shown()));
    if (trainer_keeps("max_grad_norm", value, *norm, config_.max_grad_norm)) return;
    config_.max_grad_norm = *norm;
    resolved_.origins["max_grad_norm"] = value.origin;
  }

  /// Under DeepSpeed the trainer does not clip; DeepSpeed does, and without its key not at all (its default is 0).
  void absent_clipping() {
    if (user_set("max_grad_norm")) {
      if (config_.max_grad_norm > 0) {
        resolved_.notes.push_back(fmt::format(
            "max_grad_norm: {} is kept; under DeepSpeed it would do nothing, as its file has no gradient_clipping",
            config_.max_grad_norm));
      }
      return;
    }
    config_.max_grad_norm = 0.0;
    resolved_.origins["max_grad_norm"] = {Origin::Source::deepspeed, resolved_.origin("deepspeed").text(), 0};
    resolved_.notes.emplace_back(
        "gradients are not clipped: DeepSpeed's file has no gradient_clipping, and its default is 0");
  }

  void check_optimizer(const ConfigValue& value) {
    if (value.is_null()) return;
    const auto* type = value.find("type");
    const std::string name = type != nullptr ? type->text : "";
    const auto* params = value.find("params");
    const bool all_auto = params == nullptr || std::all_of(params->members.begin(), params->members.end(),
                                                           [](const auto& member) { return is_auto(member.second); });
    if ((name != "Adam" && name != "AdamW" && name != "adam" && name != "adamw") || !all_auto) {
      return problem(
          value,
          "key 'optimizer': only AdamW with \"auto\" parameters is supported; leave it out and use learning_rate, "
          "adam_beta1, adam_beta2, adam_epsilon and weight_decay");
    }
    if (config_.weight_decay != 0.0) {
      resolved_.notes.emplace_back(
          "weight_decay leaves out biases and norms; DeepSpeed's optimizer section would decay them too");
    }
  }

  /// transformers' rule: numbers in both places must agree; the message shows all of them.
  void check_batch_sizes(const ConfigValue& file) {
    const std::int64_t micro = config_.per_device_train_batch_size, steps = config_.gradient_accumulation_steps;
    const std::int64_t world = options_.world_size;
    const std::array<std::tuple<const char*, const char*, std::int64_t>, 3> pairs{{
        {"train_micro_batch_size_per_gpu", "per_device_train_batch_size", micro},
        {"gradient_accumulation_steps", "gradient_accumulation_steps", steps},
        {"train_batch_size", "ranks * per_device_train_batch_size * gradient_accumulation_steps",
         world * micro * steps},
    }};
    std::string differences;
    const ConfigValue* first = nullptr;
    for (const auto& [theirs, ours, expected] : pairs) {
      const auto* value = file.find(theirs);
      if (value == nullptr || value->is_null() || is_auto(*value) || expected == 0) continue;
      if (to_integer(*value) == expected) continue;
      first = first == nullptr ? value : first;
      differences += fmt::format("{}DeepSpeed's {}={} but {}={}", differences.empty() ? "" : "; ", theirs,
                                 value->shown(), ours, expected);
    }
    if (differences.empty()) return;
    problem(
        *first,
        fmt::format("batch sizes differ: {} ({}{} rows per micro-batch, {} micro-batches per update); the easiest is "
                    "\"auto\" in DeepSpeed's file",
                    differences, world > 0 ? fmt::format("{} ranks, ", world) : "", micro, steps));
  }

  const ResolveOptions& options_;
  ResolvedConfig& resolved_;
  RunConfig& config_;
  std::vector<ConfigProblem>& problems_;
  std::string without_effect_;
};

}  // namespace

void apply_deepspeed(const ConfigValue& file, const ResolveOptions& options, ResolvedConfig& resolved,
                     std::vector<ConfigProblem>& problems) {
  DeepSpeedReader(options, resolved, problems).read(file);
}

}  // namespace dstrain
