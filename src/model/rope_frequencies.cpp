// SPDX-License-Identifier: Apache-2.0
/// Inverse frequencies of the rotary embedding for every scaling, in the precision of each step of transformers' own
/// code (modeling_rope_utils.py): tensors there are f32, plain numbers f64.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.hpp"
#include "model/model_spec.hpp"

namespace dstrain {

namespace {

/// base^(2i/d), i < d/2, d the dims that turn. The power is taken in f64 and rounded once, which is what a correctly
/// rounded powf gives.
std::vector<float> position_frequencies(float base, std::int64_t rotary_dim) {
  std::vector<float> powers(static_cast<std::size_t>(rotary_dim / 2));
  for (std::size_t i = 0; i < powers.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotary_dim);
    powers[i] = static_cast<float>(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  return powers;
}

std::vector<float> inverse(std::vector<float> powers) {
  for (float& p : powers) p = 1.0F / p;
  return powers;
}

/// "NTK-aware" scaling: the base grows with the length of the batch beyond what the model was trained for.
float dynamic_base(const ModelSpec& spec, std::int64_t seq_len) {
  const RopeSpec& rope = spec.rope;
  const auto longest = static_cast<float>(std::max(seq_len, spec.max_position_embeddings));
  const float stretch = static_cast<float>(rope.factor) * longest / static_cast<float>(spec.max_position_embeddings) -
                        static_cast<float>(rope.factor - 1.0);
  const auto d = static_cast<double>(spec.rope.rotary_dim);
  const auto power = static_cast<float>(std::pow(static_cast<double>(stretch), d / (d - 2.0)));
  return static_cast<float>(rope.theta) * power;
}

/// Llama 3.1: long waves are stretched by the factor, short ones kept, those between blended.
void scale_llama3(std::vector<float>& inv_freq, const RopeSpec& rope) {
  const auto factor = static_cast<float>(rope.factor);
  const auto low = static_cast<float>(rope.low_freq_factor);
  const auto original = static_cast<float>(rope.original_max_position_embeddings);
  const auto long_wave = static_cast<float>(rope.original_max_position_embeddings / rope.low_freq_factor);
  const auto short_wave = static_cast<float>(rope.original_max_position_embeddings / rope.high_freq_factor);
  for (float& f : inv_freq) {
    const float wave = static_cast<float>(2.0 * std::numbers::pi) / f;
    if (wave > long_wave) {
      f = f / factor;
    } else if (wave >= short_wave) {
      const float smooth = (original / wave - low) / static_cast<float>(rope.high_freq_factor - rope.low_freq_factor);
      f = (1.0F - smooth) * f / factor + smooth * f;
    }
  }
}

double yarn_mscale(double factor, double mscale) { return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0; }

/// Peng et al., "YaRN: Efficient Context Window Extension of Large Language Models", arXiv:2309.00071.
RopeFrequencies yarn(const ModelSpec& spec) {
  const RopeSpec& rope = spec.rope;
  const bool has_original = rope.original_max_position_embeddings > 0;
  const double positions = static_cast<double>(spec.max_position_embeddings);
  const double original = has_original ? rope.original_max_position_embeddings : positions;
  const double factor = has_original ? positions / original : rope.factor;
  const auto d = static_cast<double>(spec.rope.rotary_dim);
  // The index of the dimension that makes `rotations` turns over the original length.
  const auto correction = [&](double rotations) {
    return d * std::log(original / (rotations * 2.0 * std::numbers::pi)) / (2.0 * std::log(rope.theta));
  };
  const double first = correction(rope.beta_fast);
  const double last = correction(rope.beta_slow);
  const double low = std::max(rope.truncate ? std::floor(first) : first, 0.0);
  double high = std::min(rope.truncate ? std::ceil(last) : last, d - 1.0);
  if (low == high) high += 0.001;

  RopeFrequencies out;
  const auto powers = position_frequencies(static_cast<float>(rope.theta), spec.rope.rotary_dim);
  for (std::size_t i = 0; i < powers.size(); ++i) {
    const float ramp =
        std::clamp((static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0F, 1.0F);
    const float keep = 1.0F - ramp;
    const float interpolated = 1.0F / (static_cast<float>(factor) * powers[i]);
    out.inv_freq.push_back(interpolated * (1.0F - keep) + 1.0F / powers[i] * keep);
  }
  double attention = yarn_mscale(factor, 1.0);
  if (rope.mscale.value_or(0.0) != 0.0 && rope.mscale_all_dim.value_or(0.0) != 0.0) {
    attention = yarn_mscale(factor, *rope.mscale) / yarn_mscale(factor, *rope.mscale_all_dim);
  }
  out.attention_factor = static_cast<float>(rope.attention_factor.value_or(attention));
  return out;
}

/// Ding et al., "LongRoPE", arXiv:2402.13753: a factor for every pair, one set for texts up to the original length and
/// one for longer ones.
RopeFrequencies longrope(const ModelSpec& spec, std::int64_t seq_len) {
  const RopeSpec& rope = spec.rope;
  const double original = rope.original_max_position_embeddings;
  const auto& factors = static_cast<double>(seq_len) > original ? rope.long_factor : rope.short_factor;
  RopeFrequencies out;
  out.inv_freq = position_frequencies(static_cast<float>(rope.theta), rope.rotary_dim);
  for (std::size_t i = 0; i < out.inv_freq.size(); ++i)
    out.inv_freq[i] = 1.0F / (static_cast<float>(factors[i]) * out.inv_freq[i]);
  const double stretch = static_cast<double>(spec.max_position_embeddings) / original;
  const double factor = rope.factor > 0.0 ? rope.factor : stretch;
  const double attention = factor <= 1.0 ? 1.0 : std::sqrt(1.0 + std::log(factor) / std::log(original));
  out.attention_factor = static_cast<float>(rope.attention_factor.value_or(attention));
  return out;
}

}  // namespace

std::int64_t rope_length(const ModelSpec& spec, std::int64_t seq_len) noexcept {
  const RopeSpec& rope = spec.rope;
  if (rope.kind == RopeKind::dynamic) return std::max(seq_len, spec.max_position_embeddings);
  if (rope.kind != RopeKind::longrope) return 0;
  const auto original = static_cast<std::int64_t>(rope.original_max_position_embeddings);
  return seq_len > original ? original + 1 : 0;
}

RopeFrequencies rope_frequencies(const ModelSpec& spec, std::int64_t seq_len) {
  const RopeSpec& rope = spec.rope;
  if (rope.kind == RopeKind::yarn) return yarn(spec);
  if (rope.kind == RopeKind::longrope) return longrope(spec, seq_len);
  const bool stretched = rope.kind == RopeKind::dynamic && seq_len > spec.max_position_embeddings;
  const float base = stretched ? dynamic_base(spec, seq_len) : static_cast<float>(rope.theta);
  RopeFrequencies out;
  out.inv_freq = inverse(position_frequencies(base, spec.rope.rotary_dim));
  if (rope.kind == RopeKind::linear) {
    for (float& f : out.inv_freq) f /= static_cast<float>(rope.factor);
  }
  if (rope.kind == RopeKind::llama3) scale_llama3(out.inv_freq, rope);
  return out;
}

}  // namespace dstrain
