// SPDX-License-Identifier: Apache-2.0
#include "config/deepspeed_sections.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "config/deepspeed_section_types.hpp"
#include "config/dialect_walker.hpp"
#include "config/key_schema.hpp"

namespace dstrain {
namespace {

ConfigValue number_value(double number, const Origin& origin) {
  return ConfigValue::scalar(fmt::format("{}", number), origin);
}

/// The section as RunConfig keeps it. Everything in `parameters` has been checked.
DeepSpeedSection kept(const SectionType& type, const SectionParameters& parameters) {
  DeepSpeedSection out{.type = std::string(type.name), .params = {}};
  for (const auto& [name, value] : parameters) {
    const auto* spec = type.find(name);
    if (is_auto(value) || spec->kind == SectionParameter::Kind::word) {
      out.params[name] = value.text;
    } else if (spec->kind == SectionParameter::Kind::toggle) {
      out.params[name] = to_bool(value).value_or(false) ? 1.0 : 0.0;
    } else if (spec->kind == SectionParameter::Kind::numbers) {
      std::vector<double> numbers;
      for (const auto& item : value.items) numbers.push_back(to_number(item).value_or(0.0));
      out.params[name] = numbers;
    } else {
      out.params[name] = to_number(value).value_or(0.0);
    }
  }
  return out;
}

/// The parameters of an optimizer that are trainer keys too.
class OptimizerKeys {
 public:
  OptimizerKeys(const ConfigValue& section, const SectionType& type, SectionParameters& parameters,
                TrainerKeys& trainer, DeepSpeedOffers& offers)
      : section_(section), type_(type), parameters_(parameters), trainer_(trainer), offers_(offers) {}

  void settle() {
    single("lr", "learning_rate", type_.lr);
    single("eps", "adam_epsilon", type_.name == "Adagrad" ? 1e-10 : 1e-8);
    single("weight_decay", "weight_decay", 0.0);
    betas();
  }

 private:
  [[nodiscard]] bool takes(std::string_view name) const { return type_.find(name) != nullptr; }

  /// Default of a parameter that the file leaves out: DeepSpeed's, unless the user wrote the trainer's key.
  void absent(std::string_view name, std::string_view key, double initial) {
    if (const auto* ours = trainer_.given(key)) {
      trainer_.note(fmt::format("{}: {} is kept; under DeepSpeed it would be {}, as its optimizer section has no {}",
                                key, ours->shown(), initial, name));
    } else {
      auto origin = section_.origin;
      origin.file += " (DeepSpeed's default)";
      trainer_.set(key, number_value(initial, origin));
    }
  }

  void single(std::string_view name, std::string_view key, double initial) {
    if (!takes(name)) return;
    const auto it = parameters_.find(name);
    if (it == parameters_.end()) {
      absent(name, key, initial);
    } else if (!is_auto(it->second)) {
      offers_.offer(key, fmt::format("optimizer.params.{}", name), it->second, key);
    }
    put(name, number_value(value_of(key), section_.origin));
  }

  void betas() {
    if (!takes("betas")) return;
    const auto it = parameters_.find("betas");
    if (it == parameters_.end()) {
      absent("betas", "adam_beta1", 0.9);
      absent("betas", "adam_beta2", type_.name == "Lion" ? 0.99 : 0.999);
    } else if (!is_auto(it->second)) {
      offers_.offer("adam_beta1", "optimizer.params.betas[0]", at(it->second, 0), "adam_beta1");
      offers_.offer("adam_beta2", "optimizer.params.betas[1]", at(it->second, 1), "adam_beta2");
    }
    ConfigValue both;
    both.kind = ConfigValue::Kind::list;
    both.items = {number_value(value_of("adam_beta1"), {}), number_value(value_of("adam_beta2"), {})};
    put("betas", both);
  }

  static ConfigValue at(const ConfigValue& list, std::size_t i) {
    auto item = list.items[i];
    item.origin = list.origin;
    return item;
  }

  [[nodiscard]] double value_of(std::string_view key) {
    const auto& config = trainer_.config();
    return key == "learning_rate"  ? config.learning_rate
           : key == "adam_epsilon" ? config.adam_epsilon
           : key == "weight_decay" ? config.weight_decay
           : key == "adam_beta1"   ? config.adam_beta1
                                   : config.adam_beta2;
  }

  void put(std::string_view name, ConfigValue value) {
    parameters_.insert_or_assign(std::string(name), std::move(value));
  }

  const ConfigValue& section_;
  const SectionType& type_;
  SectionParameters& parameters_;
  TrainerKeys& trainer_;
  DeepSpeedOffers& offers_;
};

}  // namespace

void take_optimizer(const ConfigValue& section, TrainerKeys& trainer, DeepSpeedOffers& offers) {
  SectionReader reader("optimizer", deepspeed_optimizers(), trainer);
  const auto* type = reader.type_of(section);
  if (type == nullptr) return;
  auto parameters = reader.parameters(section, *type);
  const auto* optim = find_key("optim");
  const auto choices = split_words(optim->choice_list);
  if (std::find(choices.begin(), choices.end(), type->optim) == choices.end()) {
    return reader.problem(section, fmt::format("key 'optimizer.type': {} is not supported yet; use AdamW", type->name));
  }
  if (const auto it = parameters.find("amsgrad"); it != parameters.end() && to_bool(it->second) != false) {
    return reader.problem(it->second, "key 'optimizer.params.amsgrad': true is not supported, as in DeepSpeed");
  }
  if (const auto it = parameters.find("eps_inside_sqrt"); it != parameters.end() && to_bool(it->second) != false) {
    return reader.problem(it->second, "key 'optimizer.params.eps_inside_sqrt': true is not supported; leave it out");
  }
  for (const auto& [name, value] : parameters) {
    if (is_auto(value) && name != "lr" && name != "betas" && name != "eps" && name != "weight_decay") {
      return reader.problem(value,
                            fmt::format("key 'optimizer.params.{}': there is no trainer value for \"auto\"", name));
    }
  }
  OptimizerKeys(section, *type, parameters, trainer, offers).settle();
  if (const auto* ours = trainer.given("optim"); ours != nullptr && ours->text != type->optim) {
    trainer.note(
        fmt::format("optim: {} is not used: DeepSpeed's file names the optimizer, {}", ours->shown(), type->name));
  }
  trainer.set("optim", ConfigValue::scalar(std::string(type->optim), section.origin));
  trainer.config().deepspeed_optimizer = kept(*type, parameters);
  trainer.set_origin("deepspeed_optimizer", section.origin);
}

void take_scheduler(const ConfigValue& section, TrainerKeys& trainer, DeepSpeedOffers& offers) {
  SectionReader reader("scheduler", deepspeed_schedules(), trainer);
  const auto* type = reader.type_of(section);
  if (type == nullptr) return;
  auto parameters = reader.parameters(section, *type);
  const auto& config = trainer.config();
  for (auto& [name, value] : parameters) {
    if (!is_auto(value)) continue;
    if (name == "warmup_min_lr") {
      value = number_value(0.0, value.origin);
    } else if (name == "warmup_max_lr") {
      value = number_value(config.learning_rate, value.origin);
    } else if (name != "warmup_num_steps" && name != "total_num_steps") {
      return reader.problem(value,
                            fmt::format("key 'scheduler.params.{}': there is no trainer value for \"auto\"", name));
    }
  }
  const auto explicit_value = [&](std::string_view name) -> const ConfigValue* {
    const auto it = parameters.find(name);
    return it == parameters.end() || is_auto(it->second) ? nullptr : &it->second;
  };
  if (const auto* rate = explicit_value("warmup_max_lr"); rate != nullptr && to_number(*rate) != config.learning_rate) {
    if (config.deepspeed_optimizer &&
        trainer.given("learning_rate") == nullptr) {  // the schedule sets the optimizer's rate in every step
      trainer.note(fmt::format("the learning rate rises to the schedule's warmup_max_lr {}", rate->shown()));
    } else {
      offers.offer("learning_rate", "scheduler.params.warmup_max_lr", *rate, "learning_rate");
    }
  }
  if (const auto* steps = explicit_value("warmup_num_steps"); steps != nullptr && config.warmup_steps > 0) {
    offers.offer("warmup_steps", "scheduler.params.warmup_num_steps", *steps, "warmup_steps");
  }
  if (const auto* steps = explicit_value("total_num_steps"); steps != nullptr && config.max_steps > 0) {
    offers.offer("max_steps", "scheduler.params.total_num_steps", *steps, "num_training_steps (calculated)");
  }
  for (const std::string_view name : {"total_num_steps", "cycle_min_lr", "cycle_max_lr"}) {
    if (type->find(name) == nullptr || parameters.contains(name)) continue;
    if (name != "total_num_steps") {
      return reader.problem(section, fmt::format("key 'scheduler': {} needs {}", type->name, name));
    }
    trainer.note(fmt::format("scheduler: {} without total_num_steps ends with the run, as with \"auto\"", type->name));
    parameters.emplace(name, ConfigValue::scalar("auto", section.origin));
  }
  if (const auto* ours = trainer.given("lr_scheduler_type")) {
    trainer.note(fmt::format("lr_scheduler_type: {} is not used: DeepSpeed's file names the schedule, {}",
                             ours->shown(), type->name));
  }
  trainer.config().deepspeed_scheduler = kept(*type, parameters);
  trainer.set_origin("deepspeed_scheduler", section.origin);
}

}  // namespace dstrain
