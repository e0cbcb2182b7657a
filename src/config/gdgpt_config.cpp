// SPDX-License-Identifier: Apache-2.0
/// gdGPT's YAML: DeepSpeed's keys, and its own for model, data and pipeline.
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "config/dialect_walker.hpp"
#include "config/dialects.hpp"

namespace dstrain {
namespace {

class GdGptReader {
 public:
  explicit GdGptReader(TrainerKeys& trainer) : trainer_(trainer) {}

  Translation read(const ConfigValue& tree) {
    ConfigValue own, deepspeed;
    own.kind = deepspeed.kind = ConfigValue::Kind::map;
    own.origin = deepspeed.origin = tree.origin;
    for (const auto& [name, value] : tree.members) {
      const bool is_own = find_key(Dialect::gdgpt, name) != nullptr || is_section(Dialect::gdgpt, name);
      (is_own && name != "optimizer" ? own : deepspeed).members.emplace_back(name, value);
    }
    take_decay_patterns(deepspeed, own);
    walk_dialect(
        Dialect::gdgpt, own, trainer_,
        [&](const KeySpec& row, const std::string& path, const ConfigValue& value) { take(row, path, value); });
    check_topology(tree);
    for (const auto& [key, text] :
         {std::pair{"stage", "sft"}, std::pair{"finetuning_type", "full"}, std::pair{"do_train", "true"}}) {
      add(key, ConfigValue::scalar(text, {Origin::Source::file, "gdGPT's way", 0}));
    }
    steps_per_print(deepspeed);
    out_.deepspeed = std::move(deepspeed);
    return std::move(out_);
  }

 private:
  void add(std::string key, ConfigValue value) { out_.entries.push_back({std::move(key), std::move(value)}); }

  /// gdGPT makes its own groups of parameters: those whose name matches have no decay, as with the trainer's optimizer.
  void take_decay_patterns(ConfigValue& deepspeed, ConfigValue& own) {
    auto* optimizer = deepspeed.find("optimizer");
    if (optimizer == nullptr || !optimizer->is_map()) return;
    const auto patterns = std::find_if(optimizer->members.begin(), optimizer->members.end(),
                                       [](const auto& member) { return member.first == "no_wd_kws"; });
    if (patterns == optimizer->members.end()) return;
    out_.trainers_decay = !patterns->second.items.empty();
    put_at(own, "optimizer.no_wd_kws", patterns->second);
    optimizer->members.erase(patterns);
  }

  void take(const KeySpec& row, const std::string& path, const ConfigValue& value) {
    if (value.is_null()) return;
    if (path == "use_grad_ckpt") {
      add("disable_gradient_checkpointing", value_at(value, to_bool(value) == true ? "false" : "true"));
    } else if (!path.starts_with("model_topo.")) {
      add(std::string(row.target), value);
    }
  }

  void check_topology(const ConfigValue& tree) {
    const auto* topology = tree.find("model_topo");
    const auto* process = topology != nullptr ? topology->find("process_topology") : nullptr;
    const auto* axes = process != nullptr ? process->find("axes") : nullptr;
    const auto* dims = process != nullptr ? process->find("dims") : nullptr;
    if (axes == nullptr || dims == nullptr) return;
    if (axes->items.size() != dims->items.size()) {
      return trainer_.problem(dims->origin, fmt::format("key 'model_topo.process_topology.dims': {} has not one number "
                                                        "for each of {}",
                                                        dims->shown(), axes->shown()));
    }
    std::int64_t pipe = 1, all = 1;
    for (std::size_t i = 0; i < dims->items.size(); ++i) {
      const auto size = to_integer(dims->items[i]).value_or(0);
      if (size < 1 || size > 1'000'000) {
        return trainer_.problem(dims->origin, fmt::format("key 'model_topo.process_topology.dims': {} is not a list of "
                                                          "whole numbers of 1 or more",
                                                          dims->shown()));
      }
      all *= size;
      if (axes->items[i].text == "pipe" || axes->items[i].text == "model") pipe *= size;
    }
    if (pipe > 1) refuse_pipeline(tree, *dims, pipe, all);
  }

  /// The same ranks, memory and batch without a pipeline.
  void refuse_pipeline(const ConfigValue& tree, const ConfigValue& dims, std::int64_t pipe, std::int64_t ranks) {
    const auto number = [&](std::string_view key) {
      const auto* value = tree.find(key);
      return value != nullptr ? to_integer(*value).value_or(0) : 0;
    };
    const auto batch = number("train_batch_size"),
               micro = std::max<std::int64_t>(number("train_micro_batch_size_per_gpu"), 1);
    std::string instead = fmt::format(
        "remove model_topo and say zero_optimization: {{stage: 3}}: {} ranks then hold 1/{} of "
        "the model each",
        ranks, ranks);
    if (batch > 0 && batch % (micro * ranks) == 0) {
      instead += fmt::format("; train_batch_size {} = micro-batch {} * gradient_accumulation_steps {} * {} ranks",
                             batch, micro, batch / (micro * ranks), ranks);
    } else if (batch > 0) {
      instead += fmt::format("; train_batch_size {} is no multiple of micro-batch {} * {} ranks, {} is", batch, micro,
                             ranks, (batch / (micro * ranks) + 1) * micro * ranks);
    }
    trainer_.problem(
        dims.origin,
        fmt::format("key 'model_topo.process_topology.dims': a pipeline of {} stages is not supported; {}; "
                    "`dstrain plan FILE --ranks {}` says what that needs",
                    pipe, instead, ranks));
  }

  /// There is no other key for it in such a file.
  void steps_per_print(const ConfigValue& deepspeed) {
    const auto* steps = deepspeed.find("steps_per_print");
    if (steps != nullptr && to_integer(*steps).value_or(0) >= 1) add("logging_steps", *steps);
  }

  TrainerKeys& trainer_;
  Translation out_;
};

}  // namespace

Translation translate_gdgpt(const ConfigValue& tree, TrainerKeys& trainer) { return GdGptReader(trainer).read(tree); }

}  // namespace dstrain
