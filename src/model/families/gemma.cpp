// SPDX-License-Identifier: Apache-2.0
/// Gemma 1 and 2: norms of 1 + w, the embedding multiplied by sqrt(hidden), gates of GELU.
#include <fmt/core.h>

#include <cmath>

#include "model/families/families.hpp"
#include "model/families/read.hpp"

namespace dstrain::families {

namespace {

void read_both(const ConfigObject& c, ModelSpec& s, const char* activation_key) {
  read_llama_shape(
      c, s,
      {.activation_key = activation_key, .activation = "gelu_pytorch_tanh", .default_head_dim = 256, .tied = true});
  s.norm = NormKind::rms_plus_one;
  s.embedding_scale = std::sqrt(static_cast<double>(s.hidden_size));
  s.qkv_bias = s.o_bias = c.flag_or("attention_bias", false);
}

/// Older files have only hidden_act, and say "gelu" where they mean the tanh form.
void read_gemma(const ConfigObject& c, ModelSpec& s) {
  const bool newer = c.has("hidden_activation");
  read_both(c, s, newer ? "hidden_activation" : "hidden_act");
  if (!newer && s.activation == Activation::gelu) s.activation = Activation::gelu_tanh;
}

/// Layers with and without a window take turns, unless layer_types says otherwise.
void read_gemma2_windows(const ConfigObject& c, ModelSpec& s) {
  const auto window = static_cast<std::int32_t>(c.integer_or("sliding_window", 4096, 1, largest_extent));
  s.windows.assign(static_cast<std::size_t>(s.num_hidden_layers), 0);
  const auto types = c.texts("layer_types");
  if (!types.empty() && types.size() != s.windows.size()) c.refuse("layer_types", "is not one entry per layer");
  for (std::size_t layer = 0; layer < s.windows.size(); ++layer) {
    const bool sliding = types.empty() ? layer % 2 == 0 : types[layer] == "sliding_attention";
    if (!types.empty() && !sliding && types[layer] != "full_attention") {
      c.refuse("layer_types",
               fmt::format("[{}] is \"{}\"; sliding_attention and full_attention are supported", layer, types[layer]));
    }
    if (sliding) s.windows[layer] = window;
  }
}

void read_gemma2(const ConfigObject& c, ModelSpec& s) {
  read_both(c, s, "hidden_activation");
  read_gemma2_windows(c, s);
  s.attention_scale = 1.0 / std::sqrt(c.number_or("query_pre_attn_scalar", 256.0, 1e-6, 1e9));
  // A null is no cap, a missing key is the released models' cap.
  s.attention_softcap =
      c.is_null("attn_logit_softcapping") ? 0.0 : c.number_or("attn_logit_softcapping", 50.0, 1e-3, 1e9);
  s.logit_softcap =
      c.is_null("final_logit_softcapping") ? 0.0 : c.number_or("final_logit_softcapping", 30.0, 1e-3, 1e9);
  if (c.flag_or("use_bidirectional_attention", false))
    c.refuse("use_bidirectional_attention", "is true; only causal attention is supported");
}

constexpr FamilyNames with_norms_behind(FamilyNames n) {
  n.attention_norm = "post_attention_layernorm";
  n.middle_norm = "pre_feedforward_layernorm";
  n.feed_forward_norm = "post_feedforward_layernorm";
  return n;
}

}  // namespace

const Family gemma = {"gemma", llama_names, read_gemma};
const Family gemma2 = {"gemma2", with_norms_behind(llama_names), read_gemma2};

}  // namespace dstrain::families
