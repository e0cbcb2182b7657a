// SPDX-License-Identifier: Apache-2.0
/// A model family as data: everything forward and backward need to know about an architecture.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/ops/activation.hpp"
#include "model/layout.hpp"

namespace dstrain {

struct Family;

enum class RopeKind : std::uint8_t { none_scaled, linear, dynamic, llama3, yarn, longrope };

/// rope_scaling of config.json, resolved (models-and-templates: common pieces).
struct RopeSpec {
  RopeKind kind = RopeKind::none_scaled;
  double theta = 10000.0;
  std::int64_t rotary_dim = 0;  ///< the first dims of a head that turn
  bool interleaved = false;     ///< pairs (2i, 2i+1) instead of (i, i + rotary_dim/2)
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  double original_max_position_embeddings = 0;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  bool truncate = true;  ///< yarn: its range ends at whole dims
  std::optional<double> attention_factor;
  std::optional<double> mscale;
  std::optional<double> mscale_all_dim;
  std::vector<double> short_factor;  ///< longrope: one per pair, up to the original length
  std::vector<double> long_factor;   ///< and beyond it
};

enum class NormKind : std::uint8_t {
  rms,           ///< x / rms(x) * w
  rms_plus_one,  ///< x / rms(x) * (1 + w)
  layer          ///< (x - mean) / deviation * w + b
};

enum class PositionKind : std::uint8_t {
  rotary,  ///< heads of q and k turn
  alibi,   ///< scores fall with the distance
  learned  ///< a vector per position is added to the embedding
};

/// Probabilities with which values are dropped in training.
struct DropoutSpec {
  double embedding = 0.0;
  double attention = 0.0;  ///< of attention weights
  double residual = 0.0;   ///< of what attention and feed-forward layer add to the residual stream
  [[nodiscard]] bool any() const noexcept { return embedding > 0 || attention > 0 || residual > 0; }
};

/// Members carry the names of Llama's config.json where it has one.
struct ModelSpec {
  std::string model_type;
  const Family* family = nullptr;  ///< names of tensors; never null in a spec that parse_model_spec made
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t num_key_value_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t vocab_size = 0;
  std::int64_t max_position_embeddings = 0;
  NormKind norm = NormKind::rms;
  double norm_eps = 1e-5;
  PositionKind positions = PositionKind::rotary;
  RopeSpec rope;
  bool gated = true;  ///< down(act(gate) * up) instead of down(act(up))
  Activation activation = Activation::silu;
  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;
  bool tie_word_embeddings = false;
  bool residual_after_norm = false;  ///< the residual stream is what the norm made of it
  bool qkv_in_groups = false;        ///< q, k, v rows: the queries of a key head, its key, its value, then the next
  bool transposed_weights = false;   ///< matrices of blocks are stored [in, out] (GPT-2's Conv1D)
  bool final_norm = true;            ///< the head reads what the last norm made of the residual stream
  bool normalised_head = false;      ///< rows of the head's matrix count with length one
  double embedding_scale = 1.0;      ///< what is looked up is multiplied by it
  double residual_scale = 1.0;       ///< so is what attention and feed-forward layer add
  double logit_scale = 1.0;          ///< and the logits
  double logit_softcap = 0.0;        ///< 0: none
  double attention_softcap = 0.0;    ///< 0: none
  double attention_scale = 0.0;      ///< of q.k; 0: 1 / sqrt(head_dim)
  bool attention_scale_by_layer = false;  ///< and divided by the layer's number, from 1
  std::vector<std::int32_t> windows;      ///< per layer: keys that a query sees, 0 all; empty: 0 in all layers
  DropoutSpec dropout;
  double initializer_range = 0.02;
  std::int64_t bos_token_id = -1;
  std::vector<std::int64_t> eos_token_id;
  std::string torch_dtype;  ///< as config.json says, may be empty
  std::string config_json;  ///< the text it was read from (written again on export)

  [[nodiscard]] std::int32_t window_of(std::int64_t layer) const noexcept {
    return windows.empty() ? 0 : windows[static_cast<std::size_t>(layer)];
  }
};

/// Reads config.json. Unknown model_type, MoE, and options whose mathematics is missing are refused by name.
/// @throws ConfigError with `where` (path of the file) and the key.
ModelSpec parse_model_spec(std::string_view config_json, const std::string& where);

/// preset:<name>: nano, 15m, 110m, 0.5b, 1.5b, 1b, 7b, 8b, 70b. @throws ConfigError naming the presets.
ModelSpec preset_spec(std::string_view name);

/// Units and tensors of the model.
ModelLayout make_layout(const ModelSpec& spec);

/// The inverse frequencies of a head's rotary_dim/2 pairs for a batch whose longest (padded) row is `seq_len`, and the
/// factor on cos and sin.
struct RopeFrequencies {
  std::vector<float> inv_freq;
  float attention_factor = 1.0F;
};
RopeFrequencies rope_frequencies(const ModelSpec& spec, std::int64_t seq_len);

/// Batches of lengths with the same number have the same frequencies, those of a batch of this length. 0 for most
/// scalings.
std::int64_t rope_length(const ModelSpec& spec, std::int64_t seq_len) noexcept;

/// FLOPs of one training token at sequence length `seq_len`: 6 N + 12 L h s, N with the head once (benchmark
/// convention).
double flops_per_token(const ModelSpec& spec, const ModelLayout& layout, std::int64_t seq_len);

}  // namespace dstrain
