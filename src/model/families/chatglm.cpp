// SPDX-License-Identifier: Apache-2.0
/// ChatGLM2 and 3 (and GLM-4 in its first form): fused q k v for groups of queries, the first half of each head turned
/// in pairs of neighbours.
#include "model/families/families.hpp"
#include "model/families/read.hpp"

namespace dstrain::families {

namespace {

constexpr SizeKeys sizes = {.intermediate = "ffn_hidden_size",
                            .layers = "num_layers",
                            .kv_heads = nullptr,
                            .head_dim = "kv_channels",
                            .vocab = "padded_vocab_size",
                            .positions = "seq_length"};

void refuse_other_generations(const ConfigObject& c) {
  if (c.has("position_encoding_2d") || !c.has("padded_vocab_size")) {
    c.refuse("model_type",
             "\"chatglm\" without padded_vocab_size is ChatGLM's first generation, which is not supported",
             "ChatGLM2, ChatGLM3 and GLM-4 are");
  }
  if (c.integer_or("quantization_bit", 0, 0, 64) != 0)
    c.refuse("quantization_bit", "is not 0; quantised weights cannot be trained", "give the unquantised model");
  if (c.has("pre_seq_len")) c.refuse("pre_seq_len", "asks for a trained prefix, which is not supported");
  require_flag(c, "prefix_projection", false, "a trained prefix is not supported");
}

void read_chatglm(const ConfigObject& c, ModelSpec& s) {
  refuse_other_generations(c);
  read_sizes(c, s, sizes);
  s.qkv_in_groups = !c.flag_or("multi_query_attention", false);  // then head by head, as Bloom has them
  if (!s.qkv_in_groups) {
    s.num_key_value_heads = c.integer_or("multi_query_group_num", 1, 1, s.num_attention_heads);
    if (s.num_attention_heads % s.num_key_value_heads != 0)
      c.refuse("multi_query_group_num", "does not divide num_attention_heads");
  }
  s.rope.theta = 10000.0 * c.number_or("rope_ratio", 1.0, 1e-6, 1e9);
  s.rope.rotary_dim = s.head_dim / 2;
  s.rope.interleaved = true;
  if (s.rope.rotary_dim % 2 != 0) c.refuse("kv_channels", "is not a multiple of 4, and half of each head is turned");
  s.norm = c.flag_or("rmsnorm", true) ? NormKind::rms : NormKind::layer;
  s.norm_eps = c.number_or("layernorm_epsilon", 1e-5, 1e-30, 1.0);
  s.final_norm = c.flag_or("post_layer_norm", true);
  s.residual_after_norm = c.flag_or("apply_residual_connection_post_layernorm", false);
  s.o_bias = s.mlp_bias = c.flag_or("add_bias_linear", false);
  s.qkv_bias = s.o_bias || c.flag_or("add_qkv_bias", false);
  s.dropout.attention = read_probability(c, "attention_dropout", 0.0);
  s.dropout.residual = read_probability(c, "hidden_dropout", 0.0);
  s.tie_word_embeddings = false;  // whatever the config says: the model's own code has two matrices
}

}  // namespace

const Family chatglm = {"chatglm",
                        {.embedding = "transformer.embedding.word_embeddings",
                         .block = "transformer.encoder.layers.",
                         .qkv = {"self_attention.query_key_value"},
                         .o = "self_attention.dense",
                         .gate_up = {"mlp.dense_h_to_4h"},
                         .down = "mlp.dense_4h_to_h",
                         .input_norm = "input_layernorm",
                         .middle_norm = "post_attention_layernorm",
                         .final_norm = "transformer.encoder.final_layernorm",
                         .head = "transformer.output_layer"},
                        read_chatglm};

}  // namespace dstrain::families
