// SPDX-License-Identifier: Apache-2.0
#include "model/families/read.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.hpp"

namespace dstrain {

namespace {

constexpr std::int64_t most_layers = 10'000;
constexpr std::int64_t largest_head_dim = 256;  // what the attention kernels hold in registers
constexpr double most_tensor_elements = 1e12;
constexpr double huge = 1e12;

RopeKind rope_kind(const ConfigObject& scaling) {
  const std::string kind = scaling.text_or("rope_type", scaling.text_or("type", "default"));
  if (kind == "default") return RopeKind::none_scaled;
  if (kind == "linear") return RopeKind::linear;
  if (kind == "dynamic") return RopeKind::dynamic;
  if (kind == "llama3") return RopeKind::llama3;
  if (kind == "yarn") return RopeKind::yarn;
  if (kind == "longrope" || kind == "su") return RopeKind::longrope;
  scaling.refuse("rope_type", fmt::format("\"{}\" is not supported", kind),
                 "default, linear, dynamic, llama3, yarn and longrope are");
}

void read_llama3(const ConfigObject& r, RopeSpec& rope) {
  rope.low_freq_factor = r.number("low_freq_factor", 1e-6, huge);
  rope.high_freq_factor = r.number("high_freq_factor", 1e-6, huge);
  if (rope.original_max_position_embeddings == 0) r.refuse("original_max_position_embeddings", "is missing");
  if (rope.high_freq_factor <= rope.low_freq_factor) r.refuse("high_freq_factor", "is not larger than low_freq_factor");
}

void read_yarn(const ConfigObject& r, RopeSpec& rope) {
  rope.beta_fast = r.number_or("beta_fast", 32.0, 1e-6, huge);
  rope.beta_slow = r.number_or("beta_slow", 1.0, 1e-6, huge);
  rope.attention_factor = r.maybe_number("attention_factor", 1e-6, huge);
  rope.mscale = r.maybe_number("mscale", 0.0, huge);
  rope.mscale_all_dim = r.maybe_number("mscale_all_dim", 0.0, huge);
  rope.truncate = r.flag_or("truncate", true);
}

void read_longrope(const ConfigObject& r, ModelSpec& s) {
  RopeSpec& rope = s.rope;
  if (rope.original_max_position_embeddings < 2) r.refuse("original_max_position_embeddings", "is missing");
  rope.short_factor = r.numbers("short_factor", 1e-6, huge);
  rope.long_factor = r.numbers("long_factor", 1e-6, huge);
  rope.attention_factor = r.maybe_number("attention_factor", 1e-6, huge);
  for (const char* key : {"short_factor", "long_factor"}) {
    const auto count = static_cast<std::int64_t>((*key == 's' ? rope.short_factor : rope.long_factor).size());
    if (count != rope.rotary_dim / 2)
      r.refuse(key, fmt::format("has {} numbers, and {} pairs of a head turn", count, rope.rotary_dim / 2));
  }
}

/// @param c  config.json itself: older files keep the original length beside rope_scaling
void read_scaling(const ConfigObject& c, const ConfigObject& r, ModelSpec& s) {
  RopeSpec& rope = s.rope;
  rope.kind = rope_kind(r);
  if (rope.kind == RopeKind::none_scaled) return;
  // LongRoPE's follows from the two lengths where it is missing.
  rope.factor = rope.kind == RopeKind::longrope ? r.number_or("factor", 0.0, 0.0, huge) : r.number("factor", 1.0, huge);
  const ConfigObject& holder = r.has("original_max_position_embeddings") ? r : c;
  rope.original_max_position_embeddings = holder.number_or("original_max_position_embeddings", 0.0, 1.0, huge);
  if (rope.kind == RopeKind::dynamic && rope.rotary_dim <= 2)
    r.refuse("rope_type", "\"dynamic\" needs a head_dim of more than 2");
  if (rope.kind == RopeKind::llama3) read_llama3(r, rope);
  if (rope.kind == RopeKind::yarn) read_yarn(r, rope);
  if (rope.kind == RopeKind::longrope) read_longrope(r, s);
}

/// The dims of a head that turn, for `part` of it.
void set_rotary_dim(const ConfigObject& c, ModelSpec& s, double part) {
  s.rope.rotary_dim = static_cast<std::int64_t>(static_cast<double>(s.head_dim) * part);
  if (s.rope.rotary_dim < 2 || s.rope.rotary_dim % 2 != 0) {
    c.refuse("partial_rotary_factor", fmt::format("makes {} of a head's {} dims turn; an even number from 2 is needed",
                                                  s.rope.rotary_dim, s.head_dim));
  }
}

void check_extents(const ConfigObject& c, const ModelSpec& s, const SizeKeys& keys) {
  const double widest = std::max(
      {static_cast<double>(s.vocab_size), 2.0 * static_cast<double>(s.intermediate_size),
       static_cast<double>(s.num_attention_heads + 2 * s.num_key_value_heads) * static_cast<double>(s.head_dim)});
  if (widest * static_cast<double>(s.hidden_size) > most_tensor_elements ||
      widest > static_cast<double>(largest_extent)) {
    c.refuse(keys.hidden, "and its neighbours make a matrix of more than 10^12 elements");
  }
}

void read_heads(const ConfigObject& c, ModelSpec& s, const SizeKeys& keys) {
  s.num_attention_heads = c.integer(keys.heads, 1, largest_extent);
  s.num_key_value_heads = keys.kv_heads == nullptr
                              ? s.num_attention_heads
                              : c.integer_or(keys.kv_heads, s.num_attention_heads, 1, largest_extent);
  if (s.num_attention_heads % s.num_key_value_heads != 0) {
    c.refuse(keys.kv_heads,
             fmt::format("{} does not divide {} {}", s.num_key_value_heads, keys.heads, s.num_attention_heads));
  }
  const bool given = keys.head_dim != nullptr && c.has(keys.head_dim);
  if (!given && keys.default_head_dim == 0 && s.hidden_size % s.num_attention_heads != 0) {
    c.refuse(keys.heads, fmt::format("{} does not divide {} {}", s.num_attention_heads, keys.hidden, s.hidden_size),
             keys.head_dim == nullptr ? "" : "give head_dim where it is not hidden_size / num_attention_heads");
  }
  s.head_dim = given                       ? c.integer(keys.head_dim, 1, largest_head_dim)
               : keys.default_head_dim > 0 ? keys.default_head_dim
                                           : s.hidden_size / s.num_attention_heads;
  if (s.head_dim < 2 || s.head_dim > largest_head_dim || s.head_dim % 2 != 0) {
    c.refuse(
        keys.head_dim == nullptr ? keys.heads : keys.head_dim,
        fmt::format("{}: heads of an even number of dims from 2 to {} are supported", s.head_dim, largest_head_dim));
  }
}

}  // namespace

void read_sizes(const ConfigObject& c, ModelSpec& s, const SizeKeys& keys) {
  s.hidden_size = c.integer(keys.hidden, 1, largest_extent);
  s.intermediate_size =
      keys.intermediate == nullptr ? 4 * s.hidden_size : c.integer(keys.intermediate, 1, largest_extent);
  s.num_hidden_layers = c.integer(keys.layers, 1, most_layers);
  read_heads(c, s, keys);
  s.vocab_size = c.integer(keys.vocab, 2, largest_extent);
  if (keys.positions != nullptr) s.max_position_embeddings = c.integer(keys.positions, 1, largest_extent);
  check_extents(c, s, keys);
}

void read_rope(const ConfigObject& c, ModelSpec& s, double default_part) {
  s.positions = PositionKind::rotary;
  s.rope.theta = c.number_or("rope_theta", 10000.0, 1.0 + 1e-6, 1e15);
  double part = c.number_or("partial_rotary_factor", default_part, 0.0, 1.0);
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    if (!c.has(key)) continue;
    const ConfigObject scaling = c.object(key);
    s.rope.theta = scaling.number_or("rope_theta", s.rope.theta, 1.0 + 1e-6, 1e15);
    part = scaling.number_or("partial_rotary_factor", part, 0.0, 1.0);
    set_rotary_dim(c, s, part);
    read_scaling(c, scaling, s);
    return;
  }
  set_rotary_dim(c, s, part);
}

void set_window(ModelSpec& s, std::int64_t window, std::int64_t first) {
  if (window <= 0) return;
  s.windows.assign(static_cast<std::size_t>(s.num_hidden_layers), 0);
  for (std::int64_t layer = first; layer < s.num_hidden_layers; ++layer)
    s.windows[static_cast<std::size_t>(layer)] = static_cast<std::int32_t>(window);
}

void check_layer_types(const ConfigObject& c, const ModelSpec& s) {
  const auto types = c.texts("layer_types");
  if (types.empty()) return;
  if (static_cast<std::int64_t>(types.size()) != s.num_hidden_layers)
    c.refuse("layer_types", "is not one entry per layer");
  for (std::int64_t layer = 0; layer < s.num_hidden_layers; ++layer) {
    const std::string& type = types[static_cast<std::size_t>(layer)];
    if (type != (s.window_of(layer) > 0 ? "sliding_attention" : "full_attention")) {
      c.refuse("layer_types", fmt::format("[{}] is \"{}\", which the window keys do not say", layer, type),
               "the window is set by sliding_window, use_sliding_window and max_window_layers");
    }
  }
}

Activation read_activation(const ConfigObject& c, const char* key, const char* fallback) {
  constexpr std::array<std::pair<const char*, Activation>, 10> known = {{{"silu", Activation::silu},
                                                                         {"swish", Activation::silu},
                                                                         {"gelu", Activation::gelu},
                                                                         {"gelu_python", Activation::gelu},
                                                                         {"gelu_new", Activation::gelu_tanh},
                                                                         {"gelu_fast", Activation::gelu_tanh},
                                                                         {"gelu_accurate", Activation::gelu_tanh},
                                                                         {"gelu_python_tanh", Activation::gelu_tanh},
                                                                         {"gelu_pytorch_tanh", Activation::gelu_tanh},
                                                                         {"relu", Activation::relu}}};
  const std::string name = c.text_or(key, fallback);
  for (const auto& [text, activation] : known) {
    if (name == text) return activation;
  }
  c.refuse(key, fmt::format("is \"{}\"", name), "silu, gelu, gelu_new, gelu_pytorch_tanh and relu are supported");
}

double read_probability(const ConfigObject& c, const char* key, double fallback) {
  return c.number_or(key, fallback, 0.0, 0.999);
}

void read_llama_shape(const ConfigObject& c, ModelSpec& s, const LlamaShape& shape) {
  read_sizes(c, s, {.default_head_dim = shape.default_head_dim});
  read_rope(c, s, shape.rotary_part);
  s.norm_eps = c.number_or("rms_norm_eps", 1e-6, 1e-30, 1.0);
  s.activation = read_activation(c, shape.activation_key, shape.activation);
  s.dropout.attention = read_probability(c, "attention_dropout", 0.0);
  s.tie_word_embeddings = c.flag_or("tie_word_embeddings", shape.tied);
}

void require_flag(const ConfigObject& c, const char* key, bool value, const char* why) {
  if (c.flag_or(key, value) != value) c.refuse(key, fmt::format("is {}: {}", !value, why));
}

}  // namespace dstrain
