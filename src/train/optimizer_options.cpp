// SPDX-License-Identifier: Apache-2.0
#include "train/optimizer_options.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <string>

#include "core/error.hpp"

namespace dstrain {

namespace {

/// A name of `optim` and what runs for it.
struct OptimizerName {
  std::string_view name;
  OptimizerKind kind;
};

constexpr OptimizerName names[] = {
    {"adamw_torch", OptimizerKind::adamw},
    {"adamw_torch_fused", OptimizerKind::adamw},
    {"adamw_torch_xla", OptimizerKind::adamw},
    {"adamw_torch_npu_fused", OptimizerKind::adamw},
    {"adamw_apex_fused", OptimizerKind::adamw},
    {"adamw_hf", OptimizerKind::adamw},
    {"paged_adamw_32bit", OptimizerKind::adamw},
    {"adamw_8bit", OptimizerKind::adamw_8bit},
    {"adamw_bnb_8bit", OptimizerKind::adamw_8bit},
    {"paged_adamw_8bit", OptimizerKind::adamw_8bit},
    {"adafactor", OptimizerKind::adafactor},
    {"sgd", OptimizerKind::sgd},
    {"adagrad", OptimizerKind::adagrad},
    {"rmsprop", OptimizerKind::rmsprop},
    {"rmsprop_bnb", OptimizerKind::rmsprop},
    {"rmsprop_bnb_32bit", OptimizerKind::rmsprop},
    {"lion_32bit", OptimizerKind::lion},
    {"paged_lion_32bit", OptimizerKind::lion},
    {"lamb", OptimizerKind::lamb},
    {"lion_8bit", OptimizerKind::lion_8bit},
    {"paged_lion_8bit", OptimizerKind::lion_8bit},
};

OptimizerKind kind_of(const std::string& optim) {
  const auto at = std::find_if(std::begin(names), std::end(names), [&](const auto& n) { return n.name == optim; });
  if (at == std::end(names))
    throw ConfigError(fmt::format("optim: '{}' is not supported", optim), {}, "use adamw_torch");
  return at->kind;
}

/// The words of optim_args: "k=v,k=v", blanks anywhere.
class OptimizerArguments {
 public:
  OptimizerArguments(const std::string& text, std::string_view optim) : optim_(optim) {
    std::string without_blanks;
    std::copy_if(text.begin(), text.end(), std::back_inserter(without_blanks), [](char c) { return c != ' '; });
    std::string_view rest = without_blanks;
    while (!rest.empty()) {
      const auto comma = std::min(rest.find(','), rest.size());
      const std::string_view word = rest.substr(0, comma);
      const auto equals = word.find('=');
      if (equals == std::string_view::npos || equals == 0)
        throw ConfigError(fmt::format("optim_args: \"{}\" is not name=value", word), {}, "write name=value,name=value");
      values_.insert_or_assign(std::string(word.substr(0, equals)), std::string(word.substr(equals + 1)));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }

  void number(std::string_view name, double& value, double least, double below) {
    const std::string* text = take(name);
    if (text == nullptr) return;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (error != std::errc{} || end != text->data() + text->size() || !(value >= least) || !(value < below))
      throw ConfigError(
          fmt::format("optim_args: {}={} is no number from {} to less than {}", name, *text, least, below));
  }
  /// As transformers reads it: true, 1 and yes are true, anything else is not.
  void toggle(std::string_view name, bool& value) {
    if (const std::string* text = take(name)) {
      std::string lower = *text;
      std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
      value = lower == "true" || lower == "1" || lower == "yes";
    }
  }
  /// Accepted without effect.
  void ignore(std::string_view name) { (void)take(name); }

  void finish() const {
    for (const auto& [name, value] : values_) {
      if (!known_.contains(name))
        throw ConfigError(fmt::format("optim_args: {} takes no '{}'", optim_, name), {},
                          known_.empty() ? "leave optim_args out; betas and epsilon are adam_beta1, adam_beta2, "
                                           "adam_epsilon"
                                         : fmt::format("it takes {}", known_text()));
    }
  }

 private:
  const std::string* take(std::string_view name) {
    known_.insert_or_assign(std::string(name), true);
    const auto at = values_.find(name);
    return at == values_.end() ? nullptr : &at->second;
  }
  [[nodiscard]] std::string known_text() const {
    std::string text;
    for (const auto& [name, used] : known_) text += (text.empty() ? "" : ", ") + name;
    return text;
  }

  std::string_view optim_;
  std::map<std::string, std::string, std::less<>> values_;
  std::map<std::string, bool, std::less<>> known_;
};

constexpr double any = 1e300;

/// What transformers hands each optimizer out of optim_args. Its parameter groups carry weight_decay, so that the one
/// in optim_args changes nothing.
void take_arguments(OptimizerSettings& s, const std::string& text, const std::string& optim) {
  OptimizerArguments arguments(text, optim);
  if (s.kind == OptimizerKind::sgd) {
    arguments.number("momentum", s.momentum, 0, any);
    arguments.number("dampening", s.dampening, -any, any);
    arguments.toggle("nesterov", s.nesterov);
    arguments.ignore("weight_decay");
  }
  if (s.kind == OptimizerKind::adagrad) {
    arguments.number("lr_decay", s.lr_decay, 0, any);
    arguments.number("eps", s.eps, 0, any);
    arguments.ignore("weight_decay");
  }
  if (s.kind == OptimizerKind::rmsprop) {
    arguments.number("momentum", s.momentum, 0, any);
    arguments.number("alpha", s.alpha, 0, any);
    arguments.number("eps", s.eps, 0, any);
    arguments.toggle("centered", s.centered);
    arguments.ignore("weight_decay");
  }
  arguments.finish();
}

/// torch's own defaults, which transformers leaves alone.
void use_torch_defaults(OptimizerSettings& s) {
  if (s.kind == OptimizerKind::adagrad) s.eps = 1e-10;
  if (s.kind == OptimizerKind::rmsprop) s.eps = 1e-8;
}

/// Rates, betas, eps and decay of the section stand in the trainer's keys already.
void take_section(OptimizerSettings& s, const DeepSpeedOptimizer& section) {
  if (section.type == "Adam" || section.type == "AdamW") {
    if (section.number_or("adam_w_mode", 1.0) == 0.0) s.kind = OptimizerKind::adam;
    s.bias_correction = section.number_or("bias_correction", 1.0) != 0.0;
  }
  if (section.type == "Lamb") {
    s.bias_correction = section.number_or("bias_correction", 1.0) != 0.0;
    s.max_coeff = section.number_or("max_coeff", 10.0);
    s.min_coeff = section.number_or("min_coeff", 0.01);
  }
  s.momentum = section.number_or("momentum", 0.0);
  s.dampening = section.number_or("dampening", 0.0);
  s.nesterov = section.number_or("nesterov", 0.0) != 0.0;
  s.alpha = section.number_or("alpha", 0.99);
  s.centered = section.number_or("centered", 0.0) != 0.0;
}

}  // namespace

OptimizerSettings optimizer_settings(const RunConfig& config) {
  OptimizerSettings s;
  s.beta1 = config.adam_beta1;
  s.beta2 = config.adam_beta2;
  s.eps = config.adam_epsilon;
  if (config.use_muon) {
    s.kind = OptimizerKind::muon;
    s.momentum = 0.95;
    s.nesterov = true;
    return s;
  }
  s.kind = kind_of(config.optim);
  if (config.deepspeed_optimizer) {
    take_section(s, *config.deepspeed_optimizer);
  } else {
    use_torch_defaults(s);
    take_arguments(s, config.optim_args.value_or(""), config.optim);
  }
  if (s.nesterov && s.kind == OptimizerKind::sgd && !(s.momentum > 0 && s.dampening == 0))
    throw ConfigError("optim_args: Nesterov momentum requires a momentum and zero dampening");
  return s;
}

bool decays_everything(const RunConfig& config) { return config.use_muon || config.deepspeed_optimizer.has_value(); }

LossScaleOptions loss_scale_options(const RunConfig& config) {
  LossScaleOptions options;
  if (!config.fp16) return options;
  options.rule = LossScaleOptions::Rule::torch;
  if (!config.deepspeed_fp16) return options;
  const Fp16Options& fp16 = *config.deepspeed_fp16;
  options.rule = fp16.loss_scale == 0.0 ? LossScaleOptions::Rule::deepspeed : LossScaleOptions::Rule::fixed;
  options.initial = fp16.loss_scale == 0.0 ? std::ldexp(1.0, fp16.initial_scale_power) : fp16.loss_scale;
  options.window = fp16.loss_scale_window;
  options.hysteresis = fp16.hysteresis;
  options.consecutive_hysteresis = fp16.consecutive_hysteresis;
  options.minimum = fp16.min_loss_scale;
  return options;
}

Schedule make_schedule(const RunConfig& config, std::int64_t total_steps) {
  ScheduleOptions options;
  options.type = config.lr_scheduler_type;
  options.learning_rate = config.learning_rate;
  options.warmup_steps = resolve_warmup(config.warmup_steps, config.warmup_ratio, total_steps);
  options.total_steps = total_steps;
  if (config.deepspeed_scheduler) return Schedule(*config.deepspeed_scheduler, options);
  if (config.lr_scheduler_kwargs) options.arguments = *config.lr_scheduler_kwargs;
  return Schedule(options);
}

}  // namespace dstrain
