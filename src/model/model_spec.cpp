// SPDX-License-Identifier: Apache-2.0
/// config.json -> ModelSpec. What dstrain has no mathematics for is refused by name instead of being computed wrongly.
#include "model/model_spec.hpp"

#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "model/families/family.hpp"
#include "model/families/read.hpp"

namespace dstrain {

namespace {

constexpr std::size_t largest_config_bytes = 16U << 20U;

/// The key that asks for a mixture of experts, or null.
const char* expert_key(const ConfigObject& c) {
  for (const char* key : {"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"}) {
    if (c.integer_or(key, 0, 0, largest_extent) > 1) return key;
  }
  return nullptr;
}

/// Keys that change the mathematics of any family; present and not equal to the harmless value: refused.
void refuse_unknown_mathematics(const ConfigObject& c) {
  if (const char* key = expert_key(c)) {
    c.refuse(key, "asks for a mixture of experts, which is not supported",
             "dstrain runs dense models: " + family_names());
  }
  if (c.has("quantization_config")) {
    c.refuse("quantization_config", "says that the weights are quantised; they cannot be trained",
             "give the unquantised model (bf16, fp16 or fp32 weights)");
  }
  if (c.has("auto_map") && !c.has("model_type")) {
    c.refuse("auto_map", "names remote code, which is not run", "dstrain runs the model_types " + family_names());
  }
}

const Family& read_family(const ConfigObject& c) {
  const std::string type = c.text_or("model_type", "");
  if (type.empty()) c.refuse("model_type", "is missing", "is this the config.json of a Hugging Face model?");
  if (const Family* family = find_family(type)) return *family;
  const bool experts =
      type.find("moe") != std::string::npos || type == "mixtral" || type == "dbrx" || expert_key(c) != nullptr;
  c.refuse("model_type", fmt::format("\"{}\" is not supported{}", type, experts ? " (a mixture of experts)" : ""),
           "dstrain runs " + family_names());
}

}  // namespace

ModelSpec parse_model_spec(std::string_view config_json, const std::string& where) {
  if (config_json.size() > largest_config_bytes) throw ConfigError("more than 16 MiB, which no config.json has", where);
  nlohmann::json root;
  try {
    root = nlohmann::json::parse(config_json);
  } catch (const nlohmann::json::exception& error) {
    throw ConfigError(fmt::format("not JSON: {}", error.what()), where);
  }
  const ConfigObject c(root, where);
  ModelSpec s;
  s.family = &read_family(c);
  s.model_type = s.family->model_type;
  refuse_unknown_mathematics(c);
  s.family->read(c, s);
  s.initializer_range = c.number_or("initializer_range", 0.02, 0.0, 1e3);
  s.bos_token_id = c.integer_or("bos_token_id", -1, -1, largest_extent);
  s.eos_token_id = c.integers_or_one("eos_token_id", -1, largest_extent);
  s.torch_dtype = c.text_or("torch_dtype", c.text_or("dtype", ""));
  s.config_json = std::string(config_json);
  return s;
}

}  // namespace dstrain
