// SPDX-License-Identifier: Apache-2.0
/// The tensors of the Llama-shaped families, under their Hugging Face names.
#include <fmt/core.h>

#include <string>

#include "model/model_spec.hpp"

namespace dstrain {

namespace {

/// Norm weights lie behind the matrices so that the gaps of alignment stay few; fused groups are adjacent.
void append_block(ModelLayout& layout, const ModelSpec& s, std::int64_t block) {
  const int unit = static_cast<int>(block) + 1;
  const std::string prefix = fmt::format("model.layers.{}.", block);
  const std::int64_t q = s.num_attention_heads * s.head_dim;
  const std::int64_t kv = s.num_key_value_heads * s.head_dim;
  const auto add = [&](const char* name, std::vector<std::int64_t> shape, bool adjacent = false) {
    append_tensor(layout, unit, prefix + name, std::move(shape), adjacent);
  };
  add("self_attn.q_proj.weight", {q, s.hidden_size});
  add("self_attn.k_proj.weight", {kv, s.hidden_size}, true);
  add("self_attn.v_proj.weight", {kv, s.hidden_size}, true);
  add("self_attn.o_proj.weight", {s.hidden_size, q});
  add("mlp.gate_proj.weight", {s.intermediate_size, s.hidden_size});
  add("mlp.up_proj.weight", {s.intermediate_size, s.hidden_size}, true);
  add("mlp.down_proj.weight", {s.hidden_size, s.intermediate_size});
  add("input_layernorm.weight", {s.hidden_size});
  add("post_attention_layernorm.weight", {s.hidden_size});
  if (s.qkv_bias) {
    add("self_attn.q_proj.bias", {q});
    add("self_attn.k_proj.bias", {kv}, true);
    add("self_attn.v_proj.bias", {kv}, true);
  }
  if (s.o_bias) add("self_attn.o_proj.bias", {s.hidden_size});
  if (s.mlp_bias) {
    add("mlp.gate_proj.bias", {s.intermediate_size});
    add("mlp.up_proj.bias", {s.intermediate_size}, true);
    add("mlp.down_proj.bias", {s.hidden_size});
  }
}

}  // namespace

ModelLayout make_layout(const ModelSpec& spec) {
  ModelLayout layout;
  const int head = static_cast<int>(spec.num_hidden_layers) + 1;
  append_tensor(layout, 0, "model.embed_tokens.weight", {spec.vocab_size, spec.hidden_size});
  for (std::int64_t block = 0; block < spec.num_hidden_layers; ++block) append_block(layout, spec, block);
  append_tensor(layout, head, "model.norm.weight", {spec.hidden_size});
  if (!spec.tie_word_embeddings) append_tensor(layout, head, "lm_head.weight", {spec.vocab_size, spec.hidden_size});
  finish_layout(layout);
  return layout;
}

double flops_per_token(const ModelSpec& spec, const ModelLayout& layout, std::int64_t seq_len) {
  // A look-up costs no products: the embedding counts only where it is the head's matrix too.
  const double embedding = static_cast<double>(spec.vocab_size) * static_cast<double>(spec.hidden_size);
  const double in_products = static_cast<double>(layout.parameters) - (spec.tie_word_embeddings ? 0.0 : embedding);
  const auto attention_width = static_cast<double>(spec.num_attention_heads * spec.head_dim);
  return 6.0 * in_products +
         12.0 * static_cast<double>(spec.num_hidden_layers) * attention_width * static_cast<double>(seq_len);
}

}  // namespace dstrain
