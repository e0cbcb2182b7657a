// SPDX-License-Identifier: Apache-2.0
/// Llama and the families that differ from it in biases, windows, head norms and factors only.
#include "model/families/families.hpp"
#include "model/families/read.hpp"

namespace dstrain::families {

namespace {

constexpr FamilyNames with_head_norms(FamilyNames names) {
  names.q_norm = "self_attn.q_norm";
  names.k_norm = "self_attn.k_norm";
  return names;
}

void read_llama(const ConfigObject& c, ModelSpec& s) {
  read_llama_shape(c, s);
  s.qkv_bias = s.o_bias = c.flag_or("attention_bias", false);
  s.mlp_bias = c.flag_or("mlp_bias", false);
}

void read_mistral(const ConfigObject& c, ModelSpec& s) {
  read_llama_shape(c, s);
  set_window(s, c.integer_or("sliding_window", 0, 1, largest_extent));
  check_layer_types(c, s);
}

/// Qwen 2, 2.5 and 3: only with use_sliding_window, from layer max_window_layers on.
void read_qwen_window(const ConfigObject& c, ModelSpec& s) {
  if (c.flag_or("use_sliding_window", false)) {
    set_window(s, c.integer_or("sliding_window", 4096, 1, largest_extent),
               c.integer_or("max_window_layers", 28, 0, largest_extent));
  }
  check_layer_types(c, s);
}

void read_qwen2(const ConfigObject& c, ModelSpec& s) {
  read_llama_shape(c, s);
  s.qkv_bias = true;
  read_qwen_window(c, s);
}

void read_qwen3(const ConfigObject& c, ModelSpec& s) {
  read_llama_shape(c, s, {.default_head_dim = 128});
  s.qkv_bias = s.o_bias = c.flag_or("attention_bias", false);
  read_qwen_window(c, s);
}

/// Llama with factors, on what is looked up, added, compared and predicted.
void read_granite(const ConfigObject& c, ModelSpec& s) {
  read_llama(c, s);
  s.embedding_scale = c.number_or("embedding_multiplier", 1.0, 1e-9, 1e9);
  s.residual_scale = c.number_or("residual_multiplier", 1.0, 1e-9, 1e9);
  s.attention_scale = c.number_or("attention_multiplier", 1.0, 1e-9, 1e9);
  s.logit_scale = 1.0 / c.number_or("logits_scaling", 1.0, 1e-9, 1e9);
}

}  // namespace

const Family granite = {"granite", llama_names, read_granite};
const Family llama = {"llama", llama_names, read_llama};
const Family mistral = {"mistral", llama_names, read_mistral};
const Family qwen2 = {"qwen2", llama_names, read_qwen2};
const Family qwen3 = {"qwen3", with_head_norms(llama_names), read_qwen3};
// Yi, DeepSeek's dense models and others say "llama" themselves.

}  // namespace dstrain::families
