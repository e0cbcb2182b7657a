// SPDX-License-Identifier: Apache-2.0
/// Llama-shaped families that keep q, k, v or gate and up in one matrix on disk.
#include "model/families/families.hpp"
#include "model/families/read.hpp"

namespace dstrain::families {

namespace {

/// Phi-3, 3.5 and 4-mini.
void read_phi3(const ConfigObject& c, ModelSpec& s) {
  read_llama_shape(c, s);
  if (s.rope.kind == RopeKind::yarn) c.refuse("rope_scaling", "is \"yarn\", which Phi-3 does not know", "use longrope");
  s.norm_eps = c.number_or("rms_norm_eps", 1e-5, 1e-30, 1.0);
  s.dropout.residual = read_probability(c, "resid_pdrop", 0.0);
  set_window(s, c.integer_or("sliding_window", 0, 1, largest_extent));
}

/// Each key head's queries stand before its key and value; `bias` is that of every projection of attention.
void read_internlm2(const ConfigObject& c, ModelSpec& s) {
  read_llama_shape(c, s);
  s.qkv_in_groups = true;
  s.qkv_bias = s.o_bias = c.flag_or("bias", false);
}

}  // namespace

const Family phi3 = {"phi3",
                     {.embedding = "model.embed_tokens",
                      .block = "model.layers.",
                      .qkv = {"self_attn.qkv_proj"},
                      .o = "self_attn.o_proj",
                      .gate_up = {"mlp.gate_up_proj"},
                      .down = "mlp.down_proj",
                      .input_norm = "input_layernorm",
                      .middle_norm = "post_attention_layernorm",
                      .final_norm = "model.norm",
                      .head = "lm_head"},
                     read_phi3};

const Family internlm2 = {"internlm2",
                          {.embedding = "model.tok_embeddings",
                           .block = "model.layers.",
                           .qkv = {"attention.wqkv"},
                           .o = "attention.wo",
                           .gate_up = {"feed_forward.w1", "feed_forward.w3"},
                           .down = "feed_forward.w2",
                           .input_norm = "attention_norm",
                           .middle_norm = "ffn_norm",
                           .final_norm = "model.norm",
                           .head = "output"},
                          read_internlm2};

}  // namespace dstrain::families
