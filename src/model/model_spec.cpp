// SPDX-License-Identifier: Apache-2.0
/// config.json -> ModelSpec. What dstrain has no mathematics for is refused by name instead of being computed wrongly.
#include "model/model_spec.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "model/config_object.hpp"

namespace dstrain {

namespace {

constexpr std::size_t largest_config_bytes = 16U << 20U;
constexpr std::int64_t largest_extent = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t most_layers = 10'000;
constexpr std::int64_t largest_head_dim = 256;  // what the attention kernels hold in registers
constexpr double most_tensor_elements = 1e12;
constexpr const char* runs_hint = "dstrain runs model_type llama, mistral and qwen2";

/// Keys that change the mathematics; present and not equal to the harmless value: refused.
void refuse_unknown_mathematics(const ConfigObject& c) {
  for (const char* key : {"num_experts", "num_local_experts", "n_routed_experts"}) {
    if (c.integer_or(key, 0, 0, largest_extent) > 1)
      c.refuse(key, "asks for a mixture of experts, which is not supported", runs_hint);
  }
  if (c.has("quantization_config")) {
    c.refuse("quantization_config", "says that the weights are quantised; they cannot be trained",
             "give the unquantised model (bf16, fp16 or fp32 safetensors)");
  }
  if (c.has("auto_map") && !c.has("model_type")) c.refuse("auto_map", "names remote code, which is not run", runs_hint);
  const std::string activation = c.text_or("hidden_act", "silu");
  if (activation != "silu" && activation != "swish") {
    c.refuse("hidden_act", fmt::format("is \"{}\"; only \"silu\" is supported", activation), runs_hint);
  }
  if (c.number_or("attention_dropout", 0.0, 0.0, 1.0) != 0.0) {
    c.refuse("attention_dropout", "is not 0; dropout is not supported", "set it to 0.0 in config.json");
  }
  if (c.number_or("partial_rotary_factor", 1.0, 0.0, 1.0) != 1.0) {
    c.refuse("partial_rotary_factor", "is not 1; partly rotated heads are not supported", runs_hint);
  }
}

std::string read_model_type(const ConfigObject& c) {
  const std::string type = c.text_or("model_type", "");
  if (type.empty()) c.refuse("model_type", "is missing", "is this the config.json of a Hugging Face model?");
  constexpr std::array known = {"llama", "mistral", "qwen2"};
  if (std::find(known.begin(), known.end(), type) == known.end()) {
    const bool experts = type.find("moe") != std::string::npos || type == "mixtral";
    c.refuse("model_type", fmt::format("\"{}\" is not supported{}", type, experts ? " (a mixture of experts)" : ""),
             runs_hint);
  }
  return type;
}

void read_sizes(const ConfigObject& c, ModelSpec& s) {
  s.hidden_size = c.integer("hidden_size", 1, largest_extent);
  s.intermediate_size = c.integer("intermediate_size", 1, largest_extent);
  s.num_hidden_layers = c.integer("num_hidden_layers", 1, most_layers);
  s.num_attention_heads = c.integer("num_attention_heads", 1, largest_extent);
  s.num_key_value_heads = c.integer_or("num_key_value_heads", s.num_attention_heads, 1, largest_extent);
  s.vocab_size = c.integer("vocab_size", 2, largest_extent);
  s.max_position_embeddings = c.integer("max_position_embeddings", 1, largest_extent);
  if (s.num_attention_heads % s.num_key_value_heads != 0) {
    c.refuse("num_key_value_heads",
             fmt::format("{} does not divide num_attention_heads {}", s.num_key_value_heads, s.num_attention_heads));
  }
  if (!c.has("head_dim") && s.hidden_size % s.num_attention_heads != 0) {
    c.refuse("num_attention_heads",
             fmt::format("{} does not divide hidden_size {}", s.num_attention_heads, s.hidden_size),
             "give head_dim where it is not hidden_size / num_attention_heads");
  }
  s.head_dim = c.integer_or("head_dim", s.hidden_size / s.num_attention_heads, 1, largest_head_dim);
  if (s.head_dim < 2 || s.head_dim > largest_head_dim || s.head_dim % 2 != 0) {
    c.refuse("head_dim",
             fmt::format("{}: rotary positions need an even number from 2 to {}", s.head_dim, largest_head_dim));
  }
  const double widest = std::max(
      {static_cast<double>(s.vocab_size), 2.0 * static_cast<double>(s.intermediate_size),
       static_cast<double>(s.num_attention_heads + 2 * s.num_key_value_heads) * static_cast<double>(s.head_dim)});
  if (widest * static_cast<double>(s.hidden_size) > most_tensor_elements ||
      widest > static_cast<double>(largest_extent)) {
    c.refuse("hidden_size", "and its neighbours make a matrix of more than 10^12 elements");
  }
}

/// Mistral: every layer, where a window is given. Qwen2: only with use_sliding_window, from layer max_window_layers on.
void read_window(const ConfigObject& c, ModelSpec& s) {
  if (s.model_type == "mistral") {
    s.sliding_window = static_cast<std::int32_t>(c.integer_or("sliding_window", 0, 1, largest_extent));
  } else if (s.model_type == "qwen2" && c.flag_or("use_sliding_window", false)) {
    s.sliding_window = static_cast<std::int32_t>(c.integer_or("sliding_window", 4096, 1, largest_extent));
    s.sliding_window_from_layer = c.integer_or("max_window_layers", 28, 0, largest_extent);
  }
  // Newer files spell the layers out. They are believed only where they say what the keys above say.
  const auto types = c.texts("layer_types");
  if (types.empty()) return;
  if (static_cast<std::int64_t>(types.size()) != s.num_hidden_layers)
    c.refuse("layer_types", "is not one entry per layer");
  for (std::int64_t layer = 0; layer < s.num_hidden_layers; ++layer) {
    const bool windowed = s.sliding_window > 0 && layer >= s.sliding_window_from_layer;
    if (types[static_cast<std::size_t>(layer)] != (windowed ? "sliding_attention" : "full_attention")) {
      c.refuse("layer_types",
               fmt::format("[{}] is \"{}\", which the window keys do not say", layer,
                           types[static_cast<std::size_t>(layer)]),
               "window from one layer on is supported (sliding_window, use_sliding_window, max_window_layers)");
    }
  }
}

RopeKind rope_kind(const ConfigObject& scaling) {
  const std::string kind = scaling.text_or("rope_type", scaling.text_or("type", "default"));
  if (kind == "default") return RopeKind::none_scaled;
  if (kind == "linear") return RopeKind::linear;
  if (kind == "dynamic") return RopeKind::dynamic;
  if (kind == "llama3") return RopeKind::llama3;
  if (kind == "yarn") return RopeKind::yarn;
  scaling.refuse("rope_type", fmt::format("\"{}\" is not supported", kind),
                 "default, linear, dynamic, llama3 and yarn are");
}

void read_scaling(const ConfigObject& c, const ConfigObject& r, ModelSpec& s) {
  constexpr double huge = 1e12;
  RopeSpec& rope = s.rope;
  rope.kind = rope_kind(r);
  if (r.number_or("partial_rotary_factor", 1.0, 0.0, 1.0) != 1.0) {
    r.refuse("partial_rotary_factor", "is not 1; partly rotated heads are not supported", runs_hint);
  }
  if (rope.kind == RopeKind::none_scaled) return;
  rope.factor = r.number("factor", 1.0, huge);
  // Older files keep the original length beside rope_scaling.
  const ConfigObject& holder = r.has("original_max_position_embeddings") ? r : c;
  rope.original_max_position_embeddings = holder.number_or("original_max_position_embeddings", 0.0, 1.0, huge);
  if (rope.kind == RopeKind::dynamic && s.head_dim <= 2)
    r.refuse("rope_type", "\"dynamic\" needs a head_dim of more than 2");
  if (rope.kind == RopeKind::llama3) {
    rope.low_freq_factor = r.number("low_freq_factor", 1e-6, huge);
    rope.high_freq_factor = r.number("high_freq_factor", 1e-6, huge);
    if (rope.original_max_position_embeddings == 0) r.refuse("original_max_position_embeddings", "is missing");
    if (rope.high_freq_factor <= rope.low_freq_factor)
      r.refuse("high_freq_factor", "is not larger than low_freq_factor");
  }
  if (rope.kind == RopeKind::yarn) {
    rope.beta_fast = r.number_or("beta_fast", 32.0, 1e-6, huge);
    rope.beta_slow = r.number_or("beta_slow", 1.0, 1e-6, huge);
    rope.attention_factor = r.maybe_number("attention_factor", 1e-6, huge);
    rope.mscale = r.maybe_number("mscale", 0.0, huge);
    rope.mscale_all_dim = r.maybe_number("mscale_all_dim", 0.0, huge);
    if (!r.flag_or("truncate", true)) r.refuse("truncate", "is false; only whole correction ranges are supported");
  }
}

/// `rope_parameters` is the newer spelling of `rope_theta` and `rope_scaling` in one.
void read_rope(const ConfigObject& c, ModelSpec& s) {
  s.rope.theta = c.number_or("rope_theta", 10000.0, 1.0 + 1e-6, 1e15);
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    if (!c.has(key)) continue;
    const ConfigObject scaling = c.object(key);
    s.rope.theta = scaling.number_or("rope_theta", s.rope.theta, 1.0 + 1e-6, 1e15);
    read_scaling(c, scaling, s);
    return;
  }
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
  s.model_type = read_model_type(c);
  refuse_unknown_mathematics(c);
  read_sizes(c, s);
  read_window(c, s);
  read_rope(c, s);
  s.rms_norm_eps = c.number_or("rms_norm_eps", 1e-6, 1e-30, 1.0);
  const bool llama = s.model_type == "llama";
  s.qkv_bias = s.model_type == "qwen2" || (llama && c.flag_or("attention_bias", false));
  s.o_bias = llama && c.flag_or("attention_bias", false);
  s.mlp_bias = llama && c.flag_or("mlp_bias", false);
  s.tie_word_embeddings = c.flag_or("tie_word_embeddings", false);
  s.initializer_range = c.number_or("initializer_range", 0.02, 0.0, 1e3);
  s.bos_token_id = c.integer_or("bos_token_id", -1, -1, largest_extent);
  s.eos_token_id = c.integers_or_one("eos_token_id", -1, largest_extent);
  s.torch_dtype = c.text_or("torch_dtype", c.text_or("dtype", ""));
  s.config_json = std::string(config_json);
  return s;
}

}  // namespace dstrain
