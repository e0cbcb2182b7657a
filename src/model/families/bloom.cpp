// SPDX-License-Identifier: Apache-2.0
/// Bloom: linear biases, layer norms with one behind the embedding, q k v head by head in one matrix, GELU without a
/// gate.
#include "model/families/families.hpp"
#include "model/families/read.hpp"

namespace dstrain::families {

namespace {

void read_bloom(const ConfigObject& c, ModelSpec& s) {
  read_sizes(c, s,
             {.hidden = c.has("n_embed") ? "n_embed" : "hidden_size",
              .intermediate = nullptr,
              .layers = c.has("n_layer") ? "n_layer" : "num_hidden_layers",
              .heads = c.has("n_head") ? "n_head" : "num_attention_heads",
              .kv_heads = nullptr,
              .head_dim = nullptr,
              .positions = c.has("seq_length") ? "seq_length" : nullptr});
  s.positions = PositionKind::alibi;
  s.qkv_in_groups = true;
  s.norm = NormKind::layer;
  s.norm_eps = c.number_or("layer_norm_epsilon", 1e-5, 1e-30, 1.0);
  s.residual_after_norm = c.flag_or("apply_residual_connection_post_layernorm", false);
  s.gated = false;
  s.activation = Activation::gelu_tanh;
  s.qkv_bias = s.o_bias = s.mlp_bias = true;
  s.dropout.residual = read_probability(c, "hidden_dropout", 0.0);
  s.dropout.attention = read_probability(c, "attention_dropout", 0.0);
  s.tie_word_embeddings = c.flag_or("tie_word_embeddings", true);
}

}  // namespace

const Family bloom = {"bloom",
                      {.embedding = "transformer.word_embeddings",
                       .embedding_norm = "transformer.word_embeddings_layernorm",
                       .block = "transformer.h.",
                       .qkv = {"self_attention.query_key_value"},
                       .o = "self_attention.dense",
                       .gate_up = {"mlp.dense_h_to_4h"},
                       .down = "mlp.dense_4h_to_h",
                       .input_norm = "input_layernorm",
                       .middle_norm = "post_attention_layernorm",
                       .final_norm = "transformer.ln_f",
                       .head = "lm_head"},
                      read_bloom};

}  // namespace dstrain::families
