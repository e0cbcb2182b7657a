// SPDX-License-Identifier: Apache-2.0
/// GLM-4 in transformers' own form: half of each head turned in pairs of neighbours, gate and up in one matrix.
#include "model/families/families.hpp"
#include "model/families/read.hpp"

namespace dstrain::families {

namespace {

void read_glm(const ConfigObject& c, ModelSpec& s) {
  read_llama_shape(c, s, {.rotary_part = 0.5, .default_head_dim = 128});
  s.rope.interleaved = true;
  s.norm_eps = c.number_or("rms_norm_eps", 1.5625e-7, 1e-30, 1.0);
  s.qkv_bias = c.flag_or("attention_bias", false);
}

constexpr FamilyNames fused_names() {
  FamilyNames names = llama_names;
  names.gate_up = {"mlp.gate_up_proj"};
  return names;
}

/// GLM-4-0414 and GLM-Z1 norm what a layer gave before it joins the stream.
constexpr FamilyNames with_four_norms(FamilyNames n) {
  n.attention_norm = "post_self_attn_layernorm";
  n.feed_forward_norm = "post_mlp_layernorm";
  return n;
}

}  // namespace

const Family glm = {"glm", fused_names(), read_glm};
const Family glm4 = {"glm4", with_four_norms(fused_names()), read_glm};

}  // namespace dstrain::families
