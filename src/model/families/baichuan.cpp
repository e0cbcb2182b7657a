// SPDX-License-Identifier: Apache-2.0
/// Baichuan 1 and 2: Llama with q, k, v in one matrix; 13B with linear biases; 2 with a head of normalised rows.
#include <algorithm>

#include "model/families/families.hpp"
#include "model/families/read.hpp"

namespace dstrain::families {

namespace {

/// Generation 1 had 64,000 tokens and, at 7B, a class of another spelling; both call themselves "baichuan".
bool is_first_generation(const ConfigObject& c, const ModelSpec& s) {
  const auto classes = c.texts("architectures");
  return s.vocab_size == 64000 || std::find(classes.begin(), classes.end(), "BaiChuanForCausalLM") != classes.end();
}

void read_baichuan(const ConfigObject& c, ModelSpec& s) {
  const bool rotary = c.has("max_position_embeddings");
  read_sizes(
      c, s,
      {.kv_heads = nullptr, .head_dim = nullptr, .positions = rotary ? "max_position_embeddings" : "model_max_length"});
  if (rotary) {
    read_rope(c, s);
  } else {
    s.positions = PositionKind::alibi;
  }
  s.norm_eps = c.number_or("rms_norm_eps", 1e-6, 1e-30, 1.0);
  s.activation = read_activation(c, "hidden_act", "silu");
  s.tie_word_embeddings = c.flag_or("tie_word_embeddings", false);
  s.normalised_head = !is_first_generation(c, s);
  if (s.normalised_head && s.tie_word_embeddings)
    c.refuse("tie_word_embeddings", "is true, and Baichuan2's head has a matrix of its own");
  if (c.number_or("z_loss_weight", 0.0, 0.0, 1e9) != 0.0)
    c.refuse("z_loss_weight", "is not 0; the loss of softmax normalisers is not supported", "set it to 0");
}

}  // namespace

const Family baichuan = {"baichuan",
                         {.embedding = "model.embed_tokens",
                          .block = "model.layers.",
                          .qkv = {"self_attn.W_pack"},
                          .o = "self_attn.o_proj",
                          .gate_up = {"mlp.gate_proj", "mlp.up_proj"},
                          .down = "mlp.down_proj",
                          .input_norm = "input_layernorm",
                          .middle_norm = "post_attention_layernorm",
                          .final_norm = "model.norm",
                          .head = "lm_head"},
                         read_baichuan};

}  // namespace dstrain::families
