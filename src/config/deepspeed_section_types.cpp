// SPDX-License-Identifier: Apache-2.0
#include "config/deepspeed_section_types.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>

#include "config/dialect_walker.hpp"
#include "config/key_schema.hpp"

namespace dstrain {
namespace {

using K = SectionParameter::Kind;

constexpr SectionParameter kAdam[] = {{"lr"},
                                      {"betas", K::numbers},
                                      {"eps"},
                                      {"weight_decay"},
                                      {"bias_correction", K::toggle},
                                      {"amsgrad", K::toggle},
                                      {"adam_w_mode", K::toggle},
                                      {"torch_adam", K::toggle},
                                      {"set_grad_none", K::toggle},
                                      {"fp32_optimizer_states", K::toggle}};
constexpr SectionParameter kLamb[] = {{"lr"},           {"betas", K::numbers},          {"eps"},
                                      {"weight_decay"}, {"bias_correction", K::toggle}, {"max_coeff"},
                                      {"min_coeff"},    {"eps_inside_sqrt", K::toggle}, {"amsgrad", K::toggle}};
constexpr SectionParameter kLion[] = {{"lr"}, {"betas", K::numbers}, {"weight_decay"}, {"set_grad_none", K::toggle}};
constexpr SectionParameter kAdagrad[] = {
    {"lr"}, {"eps"}, {"weight_decay"}, {"amsgrad", K::toggle}, {"fp32_optimizer_states", K::toggle}};
constexpr SectionParameter kSgd[] = {{"lr"}, {"momentum"}, {"dampening"}, {"weight_decay"}, {"nesterov", K::toggle}};
constexpr SectionParameter kRmsprop[] = {{"lr"},           {"alpha"},    {"eps"},
                                         {"weight_decay"}, {"momentum"}, {"centered", K::toggle}};

constexpr std::string_view kOneBit =
    "1-bit optimizers compress what is sent and do not go with ZeRO; use AdamW with zero_optimization.stage";
constexpr std::string_view kMup = "it needs a model in the mu-parametrisation; use AdamW";
constexpr SectionType kOptimizers[] = {
    {"adam", "Adam", "adamw_torch", 1e-3, kAdam, {}},
    {"adamw", "AdamW", "adamw_torch", 1e-3, kAdam, {}},
    {"fusedadam", "Adam", "adamw_torch", 1e-3, kAdam, {}},
    {"cpuadam", "Adam", "adamw_torch", 1e-3, kAdam, {}},
    {"deepspeedcpuadam", "Adam", "adamw_torch", 1e-3, kAdam, {}},
    {"lamb", "Lamb", "lamb", 1e-3, kLamb, {}},
    {"lion", "Lion", "lion_32bit", 1e-3, kLion, {}},
    {"adagrad", "Adagrad", "adagrad", 1e-2, kAdagrad, {}},
    {"sgd", "SGD", "sgd", 1e-3, kSgd, {}},
    {"rmsprop", "RMSprop", "rmsprop", 1e-2, kRmsprop, {}},
    {"onebitadam", "OneBitAdam", {}, 1e-3, {}, kOneBit},
    {"zerooneadam", "ZeroOneAdam", {}, 1e-3, {}, kOneBit},
    {"onebitlamb", "OneBitLamb", {}, 1e-3, {}, kOneBit},
    {"muadam", "MuAdam", {}, 1e-3, {}, kMup},
    {"muadamw", "MuAdamW", {}, 1e-3, {}, kMup},
    {"musgd", "MuSGD", {}, 1e-3, {}, kMup},
    {"muon", "Muon", {}, 1e-3, {}, "say use_muon: true beside DeepSpeed's file and leave the optimizer section out"},
};

constexpr SectionParameter kWarmup[] = {
    {"warmup_min_lr"}, {"warmup_max_lr"}, {"warmup_num_steps", K::count}, {"warmup_type", K::word}};
constexpr SectionParameter kWarmupDecay[] = {{"total_num_steps", K::count},
                                             {"warmup_min_lr"},
                                             {"warmup_max_lr"},
                                             {"warmup_num_steps", K::count},
                                             {"warmup_type", K::word}};
constexpr SectionParameter kWarmupCosine[] = {{"total_num_steps", K::count},
                                              {"warmup_min_ratio"},
                                              {"warmup_num_steps", K::count},
                                              {"cos_min_ratio"},
                                              {"warmup_type", K::word}};
constexpr SectionParameter kOneCycle[] = {{"cycle_min_lr"},
                                          {"cycle_max_lr"},
                                          {"decay_lr_rate"},
                                          {"cycle_first_step_size", K::count},
                                          {"cycle_second_step_size", K::count},
                                          {"cycle_first_stair_count", K::count},
                                          {"cycle_second_stair_count", K::count},
                                          {"decay_step_size", K::count},
                                          {"cycle_momentum", K::toggle},
                                          {"cycle_min_mom"},
                                          {"cycle_max_mom"},
                                          {"decay_mom_rate"}};
constexpr SectionParameter kRangeTest[] = {{"lr_range_test_min_lr"},
                                           {"lr_range_test_step_size", K::count},
                                           {"lr_range_test_step_rate"},
                                           {"lr_range_test_staircase", K::toggle}};
constexpr SectionType kSchedules[] = {
    {"warmuplr", "WarmupLR", {}, 0, kWarmup, {}},
    {"warmupdecaylr", "WarmupDecayLR", {}, 0, kWarmupDecay, {}},
    {"warmupcosinelr", "WarmupCosineLR", {}, 0, kWarmupCosine, {}},
    {"onecycle", "OneCycle", {}, 0, kOneCycle, {}},
    {"lrrangetest", "LRRangeTest", {}, 0, kRangeTest, {}},
};

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

std::string problem_of(const SectionParameter& parameter, const ConfigValue& value) {
  const auto number = to_number(value);
  switch (parameter.kind) {
    case K::number:
      return number && *number >= 0 && *number <= 1e300 ? "" : "is not a number of 0 or more";
    case K::count:
      return to_integer(value).value_or(-1) >= 0 ? "" : "is not a whole number of 0 or more";
    case K::toggle:
      return to_bool(value) ? "" : "is not true or false";
    case K::word:
      return value.text == "log" || value.text == "linear" ? "" : "is not log or linear";
    case K::numbers: {
      bool good = value.kind == ConfigValue::Kind::list && value.items.size() == 2;
      for (const auto& item : value.items)
        good = good && to_number(item) && *to_number(item) >= 0 && *to_number(item) < 1;
      return good ? "" : "is not a list of two numbers from 0 to less than 1";
    }
  }
  return {};
}

}  // namespace

const SectionParameter* SectionType::find(std::string_view parameter) const {
  const auto it =
      std::find_if(parameters.begin(), parameters.end(), [&](const auto& one) { return one.name == parameter; });
  return it == parameters.end() ? nullptr : &*it;
}

std::span<const SectionType> deepspeed_optimizers() { return kOptimizers; }
std::span<const SectionType> deepspeed_schedules() { return kSchedules; }

const SectionType* SectionReader::type_of(const ConfigValue& section) {
  for (const auto& [name, value] : section.members) {
    if (name == "type" || name == "params" || name == "legacy_fusion") continue;
    const auto near = nearest_word(name, {"type", "params"});
    problem(value, fmt::format("unknown key '{}.{}' of DeepSpeed{}", path_, name,
                               near.empty() ? "" : fmt::format("; did you mean {}?", near)));
  }
  const auto* type = section.find("type");
  if (!section.is_map() || type == nullptr || !to_text(*type)) {
    problem(section, fmt::format("key '{}': {} has no \"type\"", path_, section.shown()));
    return nullptr;
  }
  const auto wanted = lower_case(type->text);
  const auto found = std::find_if(types_.begin(), types_.end(), [&](const auto& one) { return one.lower == wanted; });
  if (found == types_.end()) {
    refuse_type(*type);
    return nullptr;
  }
  if (!found->refused_why.empty()) {
    problem(*type, fmt::format("key '{}.type': {} is not supported: {}", path_, type->text, found->refused_why));
    return nullptr;
  }
  return &*found;
}

SectionParameters SectionReader::parameters(const ConfigValue& section, const SectionType& type) {
  SectionParameters out;
  const auto* params = section.find("params");
  if (params == nullptr || params->is_null()) return out;
  if (!params->is_map()) {
    problem(*params, fmt::format("key '{}.params': {} is not a section", path_, params->shown()));
    return out;
  }
  for (const auto& [name, value] : params->members) {
    const auto* known = type.find(name);
    if (known == nullptr) {
      unknown_parameter(name, value, type);
    } else if (value.is_null()) {
      continue;
    } else if (auto wrong = is_auto(value) ? "" : problem_of(*known, value); !wrong.empty()) {
      problem(value, fmt::format("key '{}.params.{}': {} {}", path_, name, value.shown(), wrong));
    } else {
      out.emplace(name, value);
    }
  }
  return out;
}

void SectionReader::unknown_parameter(const std::string& name, const ConfigValue& value, const SectionType& type) {
  if (name == "max_grad_norm") {
    return problem(value,
                   "'max_grad_norm' is not supported as an optimizer parameter, please switch to using the deepspeed "
                   "parameter 'gradient_clipping'");
  }
  std::vector<std::string_view> words;
  for (const auto& one : type.parameters) words.push_back(one.name);
  const auto near = nearest_word(name, words);
  problem(value, fmt::format("key '{}.params.{}': {} takes no such parameter{}", path_, name, type.name,
                             near.empty() ? "" : fmt::format("; did you mean {}?", near)));
}

void SectionReader::refuse_type(const ConfigValue& type) {
  std::vector<std::string_view> names;
  std::string all;
  for (const auto& one : types_) {
    if (!one.refused_why.empty()) continue;
    if (all.find(one.name) == std::string::npos) all += (all.empty() ? "" : ", ") + std::string(one.name);
    names.push_back(one.name);
  }
  const auto near = nearest_word(type.text, names);
  problem(type, fmt::format("key '{}.type': {} is not one of {}{}", path_, type.text, all,
                            near.empty() ? "" : fmt::format("; did you mean {}?", near)));
}

}  // namespace dstrain
