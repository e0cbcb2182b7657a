// SPDX-License-Identifier: Apache-2.0
#include "model/adapters/adapter_config.hpp"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "model/adapters/module_patterns.hpp"

namespace dstrain {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view niter_prefix = "pissa_niter_";
constexpr std::int64_t most_iterations = 10'000;

/// The members of one file, looked up by name.
class Fields {
 public:
  Fields(const Json& object, const std::string& where) : object_(object), where_(where) {}

  [[nodiscard]] const Json* find(const char* key) const {
    const auto at = object_.find(key);
    return at == object_.end() || at->is_null() ? nullptr : &*at;
  }
  [[noreturn]] void wrong(const char* key, std::string_view right) const {
    throw ConfigError(fmt::format("\"{}\" is {}; it must be {}", key, object_.at(key).dump(), right), where_);
  }
  bool boolean(const char* key, bool otherwise) const {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) wrong(key, "true or false");
    return value->get<bool>();
  }
  double number(const char* key, double otherwise) const {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_number() || !std::isfinite(value->get<double>())) wrong(key, "a number");
    return value->get<double>();
  }
  std::int64_t integer(const char* key, std::int64_t otherwise) const {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_number_integer()) wrong(key, "a whole number");
    return value->get<std::int64_t>();
  }
  /// A list of strings, or one string (then `one` becomes true).
  std::vector<std::string> strings(const char* key, bool* one) const {
    const Json* value = find(key);
    std::vector<std::string> list;
    if (value == nullptr) return list;
    if (value->is_string()) {
      if (one != nullptr) *one = true;
      list.push_back(value->get<std::string>());
      return list;
    }
    if (!value->is_array()) wrong(key, "a list of names or one string");
    for (const Json& entry : *value) {
      if (!entry.is_string()) wrong(key, "a list of names or one string");
      list.push_back(entry.get<std::string>());
    }
    return list;
  }
  template <typename T>
  std::map<std::string, T> pattern(const char* key) const {
    std::map<std::string, T> entries;
    const Json* value = find(key);
    if (value == nullptr) return entries;
    if (!value->is_object()) wrong(key, "an object of numbers");
    for (const auto& item : value->items()) {
      const Json& entry = item.value();
      if (!entry.is_number()) wrong(key, "an object of numbers");
      entries[item.key()] = entry.template get<T>();
    }
    return entries;
  }
  /// @throws ConfigError  the key asks for something that is missing here
  void refuse(const char* key, bool asked, std::string_view what) const {
    if (asked) {
      throw ConfigError(fmt::format("\"{}\" is {}: {} is not supported", key, object_.at(key).dump(), what), where_,
                        "merge the adapter with PEFT and give the merged model");
    }
  }

 private:
  const Json& object_;
  const std::string& where_;
};

bool is_set(const Fields& fields, const char* key) {
  const Json* value = fields.find(key);
  return value != nullptr && !(value->is_boolean() && !value->get<bool>()) &&
         !(value->is_structured() && value->empty());
}

void refuse_what_is_missing(const Fields& fields) {
  const Json* bias = fields.find("bias");
  fields.refuse("bias", bias != nullptr && *bias != "none", "training biases beside the adapter");
  for (const auto& [key, what] :
       {std::pair{"lora_bias", "a bias in the adapter"}, std::pair{"layer_replication", "replicating layers"},
        std::pair{"trainable_token_indices", "training single token rows"},
        std::pair{"target_parameters", "adapting bare parameters"}, std::pair{"use_qalora", "QALoRA"},
        std::pair{"alora_invocation_tokens", "activated LoRA"}, std::pair{"corda_config", "CorDA"},
        std::pair{"eva_config", "EVA"}, std::pair{"loftq_config", "LoftQ"}}) {
    fields.refuse(key, is_set(fields, key), what);
  }
}

std::string init_of(const Fields& fields) {
  const Json* value = fields.find("init_lora_weights");
  if (value == nullptr || *value == Json(true)) return "true";
  if (value->is_string()) {
    const auto& text = value->get_ref<const std::string&>();
    if (text == "pissa" || text.starts_with(niter_prefix)) return text;
    // These only say how A and B began; their values are in the file.
    if (text == "gaussian" || text == "orthogonal") return "true";
  }
  fields.refuse("init_lora_weights", *value != Json(false), "this initialisation");
  return "true";
}

void check_ranges(const AdapterConfig& c, const std::string& where) {
  const auto range = [&](bool good, const char* key, double value, const char* right) {
    if (!good) throw ConfigError(fmt::format("\"{}\" is {}; {}", key, value, right), where);
  };
  range(c.r >= 1 && c.r <= 1 << 20, "r", static_cast<double>(c.r), "use 1 or more");
  range(c.lora_dropout >= 0 && c.lora_dropout < 1, "lora_dropout", c.lora_dropout, "use 0 or more and less than 1");
  for (const auto& [name, rank] : c.rank_pattern) {
    range(rank >= 1 && rank <= 1 << 20, "rank_pattern", static_cast<double>(rank), "use 1 or more");
    check_pattern(name, where);
  }
  for (const auto& [name, alpha] : c.alpha_pattern) check_pattern(name, where);
  if (c.target_is_regex) check_pattern(c.target_modules.front(), where);
  if (c.exclude_is_regex) check_pattern(c.exclude_modules.front(), where);
  if (c.starts_from_pissa()) (void)c.pissa_iterations();
}

}  // namespace

std::int64_t AdapterConfig::pissa_iterations() const {
  if (!init_lora_weights.starts_with(niter_prefix)) return -1;
  const std::string_view digits = std::string_view(init_lora_weights).substr(niter_prefix.size());
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size() || value < 0 || value > most_iterations) {
    throw ConfigError(fmt::format("init_lora_weights is \"{}\"", init_lora_weights), {},
                      "give \"pissa\" or \"pissa_niter_<number of iterations>\"");
  }
  return value;
}

std::int64_t AdapterConfig::rank_of(const std::string& module) const {
  for (const auto& [pattern, rank] : rank_pattern) {
    if (matches_tail(pattern, module)) return rank;
  }
  return r;
}

double AdapterConfig::alpha_of(const std::string& module) const {
  for (const auto& [pattern, alpha] : alpha_pattern) {
    if (matches_tail(pattern, module)) return alpha;
  }
  return lora_alpha;
}

double AdapterConfig::scale_of(const std::string& module) const {
  const auto rank = static_cast<double>(rank_of(module));
  return alpha_of(module) / (use_rslora ? std::sqrt(rank) : rank);
}

AdapterConfig parse_adapter_config(std::string_view json, const std::string& where) {
  const Json object = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) throw ConfigError("is not a JSON object", where);
  const Fields fields(object, where);
  const Json* kind = fields.find("peft_type");
  if (kind == nullptr || *kind != "LORA") {
    throw ConfigError(fmt::format("\"peft_type\" is {}", kind == nullptr ? "missing" : kind->dump()), where,
                      "only LORA adapters can be read");
  }
  refuse_what_is_missing(fields);
  AdapterConfig c;
  if (const Json* base = fields.find("base_model_name_or_path"); base != nullptr && base->is_string())
    c.base_model_name_or_path = base->get<std::string>();
  c.r = fields.integer("r", 8);
  c.lora_alpha = fields.number("lora_alpha", 8);
  c.lora_dropout = fields.number("lora_dropout", 0.0);
  c.use_rslora = fields.boolean("use_rslora", false);
  c.use_dora = fields.boolean("use_dora", false);
  c.fan_in_fan_out = fields.boolean("fan_in_fan_out", false);
  c.target_modules = fields.strings("target_modules", &c.target_is_regex);
  c.exclude_modules = fields.strings("exclude_modules", &c.exclude_is_regex);
  c.modules_to_save = fields.strings("modules_to_save", nullptr);
  c.layers_pattern = fields.strings("layers_pattern", nullptr);
  if (const Json* layers = fields.find("layers_to_transform"); layers != nullptr) {
    const Json list = layers->is_array() ? *layers : Json::array({*layers});
    for (const Json& layer : list) {
      if (!layer.is_number_integer()) fields.wrong("layers_to_transform", "whole numbers");
      c.layers_to_transform.push_back(layer.get<std::int64_t>());
    }
  }
  c.rank_pattern = fields.pattern<std::int64_t>("rank_pattern");
  c.alpha_pattern = fields.pattern<double>("alpha_pattern");
  c.init_lora_weights = init_of(fields);
  check_ranges(c, where);
  return c;
}

std::string adapter_config_json(const AdapterConfig& c) {
  const auto or_null = [](const auto& list) { return list.empty() ? Json(nullptr) : Json(list); };
  const auto names = [&](const std::vector<std::string>& list, bool one) {
    return one ? Json(list.front()) : or_null(list);
  };
  // PEFT keeps a whole alpha whole.
  const auto plain = [](double value) {
    return value == std::floor(value) && std::abs(value) < 1e15 ? Json(static_cast<std::int64_t>(value)) : Json(value);
  };
  Json alphas = Json::object();
  for (const auto& [name, alpha] : c.alpha_pattern) alphas[name] = plain(alpha);
  Json ranks = Json::object();
  for (const auto& [name, rank] : c.rank_pattern) ranks[name] = rank;
  const Json object = {
      {"alpha_pattern", alphas},
      {"auto_mapping", nullptr},
      {"base_model_name_or_path", c.base_model_name_or_path.empty() ? Json(nullptr) : Json(c.base_model_name_or_path)},
      {"bias", "none"},
      {"corda_config", nullptr},
      {"eva_config", nullptr},
      {"exclude_modules", names(c.exclude_modules, c.exclude_is_regex)},
      {"fan_in_fan_out", c.fan_in_fan_out},
      {"inference_mode", true},
      {"init_lora_weights", c.init_lora_weights == "true" ? Json(true) : Json(c.init_lora_weights)},
      {"layer_replication", nullptr},
      {"layers_pattern", or_null(c.layers_pattern)},
      {"layers_to_transform", or_null(c.layers_to_transform)},
      {"loftq_config", Json::object()},
      {"lora_alpha", plain(c.lora_alpha)},
      {"lora_bias", false},
      {"lora_dropout", c.lora_dropout},
      {"megatron_config", nullptr},
      {"megatron_core", "megatron.core"},
      {"modules_to_save", or_null(c.modules_to_save)},
      {"peft_type", "LORA"},
      {"r", c.r},
      {"rank_pattern", ranks},
      {"revision", nullptr},
      {"target_modules", names(c.target_modules, c.target_is_regex)},
      {"task_type", "CAUSAL_LM"},
      {"trainable_token_indices", nullptr},
      {"use_dora", c.use_dora},
      {"use_rslora", c.use_rslora},
  };
  return object.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace dstrain
