// SPDX-License-Identifier: Apache-2.0
/// Rules about the data keys: LLaMA-Factory's DataArguments.__post_init__, and what streaming needs.
#include <fmt/core.h>

#include <cmath>

#include "config/validate.hpp"

namespace dstrain {
namespace {

/// Whether every share is a probability and they add up to 1, as closely as numpy wants it.
bool are_probabilities(const std::vector<std::string>& words) {
  double sum = 0.0;
  for (const auto& word : words) {
    const auto value = to_number(ConfigValue::scalar(word));
    if (!value || !(*value >= 0.0 && *value <= 1.0)) return false;
    sum += *value;
  }
  return std::abs(sum - 1.0) <= 1.5e-8;
}

}  // namespace

void check_data_keys(const ResolvedConfig& resolved, std::vector<ConfigProblem>& problems) {
  const RunConfig& c = resolved.config;
  const auto require = [&](bool good, std::string_view key, std::string text) {
    if (!good) problems.push_back({resolved.origin(key), std::move(text)});
  };
  if (!c.interleave_probs.empty()) {
    const std::size_t shares = c.interleave_probs.size();
    require(c.mix_strategy != "concat", "interleave_probs", "`interleave_probs` is only valid for interleaved mixing.");
    require(c.dataset.empty() || c.dataset.size() == shares, "interleave_probs",
            "The length of dataset and interleave probs should be identical.");
    require(c.eval_dataset.empty() || c.eval_dataset.size() == shares, "interleave_probs",
            "The length of eval dataset and interleave probs should be identical.");
    require(are_probabilities(c.interleave_probs), "interleave_probs",
            "key 'interleave_probs': use numbers from 0 to 1 that add up to 1");
  }
  require(c.buffer_size >= 1, "buffer_size", fmt::format("key 'buffer_size': is {}; use 1 or more", c.buffer_size));
  require(!(c.data_split && c.streaming), "data_split", "data_split needs all rows at hand: leave streaming out");
  require(!c.data_split || c.mix_strategy == "concat", "data_split",
          "data_split blends datasets; leave mix_strategy out");
  if (!c.streaming) return;
  require(!(c.val_size > 1e-6 && c.val_size < 1), "val_size", "Streaming mode should have an integer val size.");
  require(!c.max_samples, "max_samples", "`max_samples` is incompatible with `streaming`.");
  require(c.max_steps > 0, "max_steps", "Please specify `max_steps` in streaming mode.");
}

}  // namespace dstrain
