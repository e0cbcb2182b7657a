// SPDX-License-Identifier: Apache-2.0
/// Architectures that can be named instead of given as a folder: for benchmarks, plans and first tries.
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "model/model_spec.hpp"

namespace dstrain {

namespace {

struct Preset {
  const char* name;
  const char* model_type;
  std::int64_t hidden, layers, heads, kv_heads, intermediate, vocabulary, positions;
  bool tied;
  double eps, theta;
  const char* rope_scaling;  ///< JSON, or null
};

constexpr const char* llama32_rope =
    R"({"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                         "original_max_position_embeddings": 8192})";

/// nano: seconds on a laptop. 15m, 110m: small models of known shape. 0.5b, 1.5b: Qwen 2.5. 1b: Llama 3.2. 7b: Llama 2. 8b, 70b:
/// Llama 3.
constexpr Preset presets[] = {
    {"nano", "llama", 64, 2, 4, 2, 176, 512, 512, false, 1e-5, 1e4, nullptr},
    {"15m", "llama", 288, 6, 6, 6, 768, 32000, 1024, true, 1e-6, 1e4, nullptr},
    {"110m", "llama", 768, 12, 12, 12, 2048, 32000, 1024, true, 1e-6, 1e4, nullptr},
    {"0.5b", "qwen2", 896, 24, 14, 2, 4864, 151936, 32768, true, 1e-6, 1e6, nullptr},
    {"1.5b", "qwen2", 1536, 28, 12, 2, 8960, 151936, 131072, true, 1e-6, 1e6, nullptr},
    {"1b", "llama", 2048, 16, 32, 8, 8192, 128256, 131072, true, 1e-5, 5e5, llama32_rope},
    {"7b", "llama", 4096, 32, 32, 32, 11008, 32000, 4096, false, 1e-5, 1e4, nullptr},
    {"8b", "llama", 4096, 32, 32, 8, 14336, 128256, 8192, false, 1e-5, 5e5, nullptr},
    {"70b", "llama", 8192, 80, 64, 8, 28672, 128256, 8192, false, 1e-5, 5e5, nullptr},
};

std::string config_of(const Preset& p) {
  const bool qwen2 = std::string_view(p.model_type) == "qwen2";
  nlohmann::ordered_json c;
  c["architectures"] = {qwen2 ? "Qwen2ForCausalLM" : "LlamaForCausalLM"};
  c["model_type"] = p.model_type;
  c["hidden_size"] = p.hidden;
  c["intermediate_size"] = p.intermediate;
  c["num_hidden_layers"] = p.layers;
  c["num_attention_heads"] = p.heads;
  c["num_key_value_heads"] = p.kv_heads;
  c["vocab_size"] = p.vocabulary;
  c["max_position_embeddings"] = p.positions;
  c["hidden_act"] = "silu";
  c["rms_norm_eps"] = p.eps;
  c["rope_theta"] = p.theta;
  c["rope_scaling"] =
      p.rope_scaling == nullptr ? nlohmann::ordered_json() : nlohmann::ordered_json::parse(p.rope_scaling);
  c["tie_word_embeddings"] = p.tied;
  c["attention_dropout"] = 0.0;
  if (qwen2) {
    c["use_sliding_window"] = false;
  } else {
    c["attention_bias"] = false;
    c["mlp_bias"] = false;
  }
  c["initializer_range"] = 0.02;
  // The specials of each vocabulary: 128256 is Llama 3's, 151936 Qwen's, the others are Llama 2's.
  c["bos_token_id"] = p.vocabulary == 128256 ? 128000 : qwen2 ? 151643 : 1;
  c["eos_token_id"] = p.vocabulary == 128256 ? 128001 : qwen2 ? 151643 : 2;
  c["torch_dtype"] = "float32";
  return c.dump(2) + "\n";
}

}  // namespace

ModelSpec preset_spec(std::string_view name) {
  std::string names;
  for (const Preset& preset : presets) {
    if (name == preset.name) return parse_model_spec(config_of(preset), fmt::format("preset:{}", name));
    names += fmt::format("{}{}", names.empty() ? "" : ", ", preset.name);
  }
  throw ConfigError(fmt::format("there is no preset \"{}\"", name), "model_name_or_path", "the presets are " + names);
}

}  // namespace dstrain
