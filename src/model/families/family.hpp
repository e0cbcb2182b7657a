// SPDX-License-Identifier: Apache-2.0
/// A model family as data: the names of its tensors, and how its config.json becomes a ModelSpec.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "model/config_object.hpp"
#include "model/model_spec.hpp"

namespace dstrain {

/// Hugging Face's module names; ".weight" and ".bias" follow. Null where a family has no such module.
struct FamilyNames {
  const char* embedding;
  const char* positions = nullptr;       ///< learned positions
  const char* embedding_norm = nullptr;  ///< norm of the embedding
  const char* block;                     ///< what stands before a block's number; the names below follow it and a dot
  std::array<const char*, 3> qkv;        ///< q, k, v, or one module that holds all three
  const char* q_norm = nullptr;
  const char* k_norm = nullptr;
  const char* o;
  std::array<const char*, 2> gate_up;  ///< gate, up, or one module with both; without a gate: the one that widens
  const char* down;
  const char* input_norm;
  const char* middle_norm;                  ///< before the feed-forward layer
  const char* attention_norm = nullptr;     ///< of what attention adds to the residual stream
  const char* feed_forward_norm = nullptr;  ///< of what the feed-forward layer adds
  const char* final_norm;
  const char* head;
};

/// The names of Llama, which many families took over.
inline constexpr FamilyNames llama_names = {.embedding = "model.embed_tokens",
                                            .block = "model.layers.",
                                            .qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
                                            .o = "self_attn.o_proj",
                                            .gate_up = {"mlp.gate_proj", "mlp.up_proj"},
                                            .down = "mlp.down_proj",
                                            .input_norm = "input_layernorm",
                                            .middle_norm = "post_attention_layernorm",
                                            .final_norm = "model.norm",
                                            .head = "lm_head"};

struct Family {
  const char* model_type;
  FamilyNames names;
  /// Fills the spec from config.json. What holds for every family (token ids, sizes that must fit together) is read and
  /// checked by parse_model_spec. @throws ConfigError for mathematics that dstrain has not
  void (*read)(const ConfigObject& config, ModelSpec& spec);
};

/// Every family. A new one is a line in families/table.cpp.
std::span<const Family* const> all_families() noexcept;

/// The family of `model_type`, or null.
const Family* find_family(std::string_view model_type) noexcept;

/// "baichuan, bloom, ...": for messages.
std::string family_names();

}  // namespace dstrain
