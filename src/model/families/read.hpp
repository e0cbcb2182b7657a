// SPDX-License-Identifier: Apache-2.0
/// Keys of config.json that several families share.
#pragma once

#include <limits>

#include "model/config_object.hpp"
#include "model/model_spec.hpp"

namespace dstrain {

inline constexpr std::int64_t largest_extent = std::numeric_limits<std::int32_t>::max();

/// What the sizes are called. Null: the family has no such key.
struct SizeKeys {
  const char* hidden = "hidden_size";
  const char* intermediate = "intermediate_size";
  const char* layers = "num_hidden_layers";
  const char* heads = "num_attention_heads";
  const char* kv_heads = "num_key_value_heads";  ///< absent: as many as heads
  const char* head_dim = "head_dim";             ///< absent: hidden / heads
  const char* vocab = "vocab_size";
  const char* positions = "max_position_embeddings";
  std::int64_t default_head_dim = 0;  ///< where the key is missing; 0: hidden / heads
};

/// Reads the sizes and checks what each must be by itself and to its neighbours.
void read_sizes(const ConfigObject& c, ModelSpec& s, const SizeKeys& keys = {});

/// rope_theta with rope_scaling, or rope_parameters of newer files. Heads turn whole unless partial_rotary_factor says
/// otherwise; `default_part` is what a missing one means.
void read_rope(const ConfigObject& c, ModelSpec& s, double default_part = 1.0);

/// `sliding_window` in each layer from `first` on.
void set_window(ModelSpec& s, std::int64_t window, std::int64_t first = 0);

/// Newer files spell the kind of each layer out (`layer_types`): believed where they say what `s.windows` says.
void check_layer_types(const ConfigObject& c, const ModelSpec& s);

/// The activation called `key`; `fallback` where it is absent. Names are transformers' (ACT2FN).
Activation read_activation(const ConfigObject& c, const char* key, const char* fallback);

/// A probability of dropout.
double read_probability(const ConfigObject& c, const char* key, double fallback);

/// What a family that is shaped like Llama calls otherwise or takes for granted.
struct LlamaShape {
  const char* activation_key = "hidden_act";
  const char* activation = "silu";
  double rotary_part = 1.0;           ///< of a head, where partial_rotary_factor is missing
  std::int64_t default_head_dim = 0;  ///< where head_dim is missing; 0: hidden / heads
  bool tied = false;                  ///< where tie_word_embeddings is missing
};

/// Sizes, positions, norm and activation as Llama has them: what most families start from.
void read_llama_shape(const ConfigObject& c, ModelSpec& s, const LlamaShape& shape = {});

/// Refuses a flag that stands at anything but `value`.
void require_flag(const ConfigObject& c, const char* key, bool value, const char* why);

}  // namespace dstrain
