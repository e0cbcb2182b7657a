// SPDX-License-Identifier: Apache-2.0
/// GPT-2: learned positions, layer norms, matrices stored [in, out], dropout in training.
#include "model/families/families.hpp"
#include "model/families/read.hpp"

namespace dstrain::families {

namespace {

void read_gpt2(const ConfigObject& c, ModelSpec& s) {
  read_sizes(c, s,
             {.hidden = "n_embd",
              .intermediate = c.has("n_inner") ? "n_inner" : nullptr,
              .layers = "n_layer",
              .heads = "n_head",
              .kv_heads = nullptr,
              .head_dim = nullptr,
              .positions = "n_positions"});
  s.positions = PositionKind::learned;
  s.transposed_weights = true;
  s.norm = NormKind::layer;
  s.norm_eps = c.number_or("layer_norm_epsilon", 1e-5, 1e-30, 1.0);
  s.gated = false;
  s.activation = read_activation(c, "activation_function", "gelu_new");
  s.qkv_bias = s.o_bias = s.mlp_bias = true;
  s.attention_scale = c.flag_or("scale_attn_weights", true) ? 0.0 : 1.0;
  s.attention_scale_by_layer = c.flag_or("scale_attn_by_inverse_layer_idx", false);
  s.dropout.embedding = read_probability(c, "embd_pdrop", 0.1);
  s.dropout.attention = read_probability(c, "attn_pdrop", 0.1);
  s.dropout.residual = read_probability(c, "resid_pdrop", 0.1);
  s.tie_word_embeddings = c.flag_or("tie_word_embeddings", true);
  require_flag(c, "add_cross_attention", false, "attention to an encoder is not supported");
}

}  // namespace

const Family gpt2 = {"gpt2",
                     {.embedding = "transformer.wte",
                      .positions = "transformer.wpe",
                      .block = "transformer.h.",
                      .qkv = {"attn.c_attn"},
                      .o = "attn.c_proj",
                      .gate_up = {"mlp.c_fc"},
                      .down = "mlp.c_proj",
                      .input_norm = "ln_1",
                      .middle_norm = "ln_2",
                      .final_norm = "transformer.ln_f",
                      .head = "lm_head"},
                     read_gpt2};

}  // namespace dstrain::families
