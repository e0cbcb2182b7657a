// SPDX-License-Identifier: Apache-2.0
/// accelerate's configuration file.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "config/dialect_walker.hpp"
#include "config/dialects.hpp"

namespace dstrain {
namespace {

/// Letters, digits, dots, dashes, colons: a name or an address; x.x.x.x and <host> are what examples leave to fill in.
bool is_address(const std::string& text) {
  const bool characters = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == ':' || c == '_';
  });
  const bool placeholder =
      !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c == 'x' || c == 'X' || c == '.'; });
  return characters && !placeholder;
}

class AccelerateReader {
 public:
  explicit AccelerateReader(TrainerKeys& trainer) : trainer_(trainer) {}

  Translation read(const ConfigValue& tree) {
    walk_dialect(Dialect::accelerate, tree, trainer_,
                 [&](const KeySpec&, const std::string& path, const ConfigValue& value) { take(path, value); });
    const auto* type = tree.find("distributed_type");
    if (type == nullptr && !tree.members.empty()) {
      trainer_.problem({tree.origin.source, tree.origin.file, 0},
                       "A `distributed_type` must be specified in the config file.");
    } else if (type != nullptr && type->text == "DEEPSPEED") {
      deepspeed(tree, *type);
    } else if (type != nullptr && type->text == "FSDP") {
      fsdp(tree, *type);
    }
    return std::move(out_);
  }

 private:
  void take(const std::string& path, const ConfigValue& value) {
    if (value.is_null()) return;
    if (path == "mixed_precision") {
      if (value.text == "fp16" || value.text == "bf16") add(value.text, value_at(value, "true"));
    } else if (path == "fp16" && to_bool(value) == true) {
      add("fp16", value);
    } else if (path == "use_cpu") {
      if (to_bool(value) == true) add("use_cpu", value);
    } else if (path == "num_processes") {
      compare_ranks(value);
    } else if (path == "main_process_ip" && !is_address(value.text)) {
      trainer_.problem(value.origin,
                       fmt::format("key 'main_process_ip': \"{}\" is not an address; give the first machine's name or "
                                   "IP address, or leave it out: mpirun finds the machines",
                                   value.shown()));
    }
  }

  void compare_ranks(const ConfigValue& value) {
    const auto count = to_integer(value).value_or(-1);
    if (trainer_.ranks() == 0 || count < 1 || count == trainer_.ranks()) return;
    trainer_.note(fmt::format("num_processes: {} ({}), but there are {} ranks: those that mpirun or srun placed count",
                              count, value.origin.text(), trainer_.ranks()));
  }

  void add(std::string key, ConfigValue value) { out_.entries.push_back({std::move(key), std::move(value)}); }

  /// What accelerate's plugin writes into the DeepSpeed configuration, or the file that it names.
  void deepspeed(const ConfigValue& tree, const ConfigValue& type) {
    const auto* section = tree.find("deepspeed_config");
    const ConfigValue empty = value_at(type, "");
    const auto& given = section != nullptr && section->is_map() ? *section : empty;
    if (const auto* file = given.find("deepspeed_config_file"); file != nullptr && !file->is_null()) {
      add("deepspeed", *file);
      return refuse_beside_a_file(tree, given);
    }
    put("train_batch_size", value_at(type, "auto"));
    put("train_micro_batch_size_per_gpu", value_at(type, "auto"));
    for (const char* key : {"gradient_accumulation_steps", "gradient_clipping"}) {
      const auto* value = given.find(key);
      put(key, value != nullptr && !value->is_null() ? *value : value_at(type, "auto"));
    }
    const auto* stage = given.find("zero_stage");
    put("zero_optimization.stage", stage != nullptr && !stage->is_null() ? *stage : value_at(type, "2"));
    for (const char* what : {"offload_optimizer", "offload_param"}) {
      const auto* device = given.find(std::string(what) + "_device");
      if (device != nullptr && !device->is_null()) put(fmt::format("zero_optimization.{}.device", what), *device);
    }
  }

  void refuse_beside_a_file(const ConfigValue& tree, const ConfigValue& given) {
    constexpr std::array<std::string_view, 6> forbidden{"zero_stage",           "gradient_accumulation_steps",
                                                        "gradient_clipping",    "offload_optimizer_device",
                                                        "offload_param_device", "zero3_save_16bit_model"};
    std::string found;
    Origin where;
    const auto look = [&](std::string_view name, const ConfigValue* value) {
      if (value == nullptr || value->is_null() || is_auto(*value)) return;
      if (found.empty()) where = value->origin;
      found += (found.empty() ? "'" : ", '") + std::string(name) + "'";
    };
    for (const auto name : forbidden) look(name, given.find(name));
    look("mixed_precision", tree.find("mixed_precision"));
    if (found.empty()) return;
    trainer_.problem(where, fmt::format("When using `deepspeed_config_file`, the following accelerate config variables "
                                        "will be ignored: [{}]. Please specify them appropriately in the DeepSpeed "
                                        "config file.",
                                        found));
  }

  /// FSDP shards what a ZeRO stage shards.
  void fsdp(const ConfigValue& tree, const ConfigValue& type) {
    const auto* section = tree.find("fsdp_config");
    const auto* strategy = section != nullptr ? section->find("fsdp_sharding_strategy") : nullptr;
    const auto* reshard = section != nullptr ? section->find("fsdp_reshard_after_forward") : nullptr;
    if (strategy == nullptr || strategy->is_null()) strategy = reshard;
    if (strategy == nullptr || strategy->is_null()) return add("zero_stage", value_at(type, "3"));
    std::string word = strategy->text;
    std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return std::toupper(c); });
    constexpr std::array<std::pair<std::string_view, int>, 12> stages{{{"FULL_SHARD", 3},
                                                                       {"1", 3},
                                                                       {"TRUE", 3},
                                                                       {"SHARD_GRAD_OP", 2},
                                                                       {"2", 2},
                                                                       {"FALSE", 2},
                                                                       {"NO_SHARD", 0},
                                                                       {"3", 0},
                                                                       {"HYBRID_SHARD", 3},
                                                                       {"4", 3},
                                                                       {"HYBRID_SHARD_ZERO2", 2},
                                                                       {"5", 2}}};
    const auto* found = std::find_if(stages.begin(), stages.end(), [&](const auto& s) { return s.first == word; });
    if (found == stages.end()) {
      return trainer_.problem(
          strategy->origin,
          fmt::format("key 'fsdp_config.fsdp_sharding_strategy': {} is not one of FULL_SHARD, SHARD_GRAD_OP, NO_SHARD, "
                      "HYBRID_SHARD, HYBRID_SHARD_ZERO2",
                      strategy->shown()));
    }
    if (word.starts_with("HYBRID") || word == "4" || word == "5") {
      trainer_.note(fmt::format(
          "{} shards over all ranks here, not within each node: the same numbers with less memory", strategy->shown()));
    }
    add("zero_stage", value_at(*strategy, std::to_string(found->second)));
    const auto* checkpointing = section->find("fsdp_activation_checkpointing");
    if (checkpointing != nullptr && to_bool(*checkpointing) == true) {
      add("disable_gradient_checkpointing", value_at(*checkpointing, "false"));
    }
  }

  void put(std::string_view path, ConfigValue value) { put_at(out_.deepspeed, path, std::move(value)); }

  TrainerKeys& trainer_;
  Translation out_;
};

}  // namespace

Translation translate_accelerate(const ConfigValue& tree, TrainerKeys& trainer) {
  return AccelerateReader(trainer).read(tree);
}

}  // namespace dstrain
