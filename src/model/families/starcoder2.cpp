// SPDX-License-Identifier: Apache-2.0
/// StarCoder2: rotary positions with layer norms, biases and a feed-forward layer without a gate. StableLM: the same
/// norms around Llama's layers.
#include "model/families/families.hpp"
#include "model/families/read.hpp"

namespace dstrain::families {

namespace {

void read_starcoder2(const ConfigObject& c, ModelSpec& s) {
  read_llama_shape(c, s, {.activation = "gelu_pytorch_tanh", .tied = true});
  s.norm = NormKind::layer;
  s.norm_eps = c.number_or("norm_epsilon", 1e-5, 1e-30, 1.0);
  s.gated = false;
  s.qkv_bias = s.o_bias = s.mlp_bias = c.flag_or("use_bias", true);
  s.dropout.residual = read_probability(c, "residual_dropout", 0.0);
  s.dropout.embedding = read_probability(c, "embedding_dropout", 0.0);
  set_window(s, c.integer_or("sliding_window", 0, 1, largest_extent));
}

void read_stablelm(const ConfigObject& c, ModelSpec& s) {
  read_llama_shape(c, s, {.rotary_part = 0.25});
  s.norm = NormKind::layer;
  s.norm_eps = c.number_or("layer_norm_eps", 1e-5, 1e-30, 1.0);
  s.qkv_bias = c.flag_or("use_qkv_bias", false);
  s.dropout.residual = read_probability(c, "hidden_dropout", 0.0);
  require_flag(c, "use_parallel_residual", false, "attention and feed-forward layer side by side are not supported");
  require_flag(c, "qk_layernorm", false, "layer norms of single heads are not supported");
}

constexpr FamilyNames starcoder2_names() {
  FamilyNames names = llama_names;
  names.gate_up = {"mlp.c_fc"};
  names.down = "mlp.c_proj";
  return names;
}

}  // namespace

const Family starcoder2 = {"starcoder2", starcoder2_names(), read_starcoder2};
const Family stablelm = {"stablelm", llama_names, read_stablelm};

}  // namespace dstrain::families
