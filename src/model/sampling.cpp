// SPDX-License-Identifier: Apache-2.0
#include "model/sampling.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "core/error.hpp"

namespace dstrain {

namespace {

void penalise_repetition(std::span<float> logits, std::span<const std::int32_t> context, double penalty) {
  std::vector<std::int32_t> seen(context.begin(), context.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  const auto factor = static_cast<float>(penalty);
  for (const std::int32_t id : seen) {
    float& logit = logits[static_cast<std::size_t>(id)];
    logit = logit < 0.0F ? logit * factor : logit / factor;
  }
}

/// Ids of the k largest logits and of those equal to the smallest of them, likeliest first.
std::vector<std::int32_t> likeliest(std::span<const float> logits, std::int64_t k) {
  std::vector<std::int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto at = [&](std::int32_t id) { return logits[static_cast<std::size_t>(id)]; };
  if (k > 0 && static_cast<std::size_t>(k) < ids.size()) {
    std::vector<float> values(logits.begin(), logits.end());
    const auto kth = values.begin() + (k - 1);
    std::nth_element(values.begin(), kth, values.end(), std::greater<>());
    std::erase_if(ids, [&](std::int32_t id) { return at(id) < *kth; });
  }
  std::sort(ids.begin(), ids.end(),
            [&](std::int32_t a, std::int32_t b) { return at(a) != at(b) ? at(a) > at(b) : a < b; });
  return ids;
}

}  // namespace

void check_sampling(const SamplingOptions& o) {
  const auto refuse = [](const char* key, double value, const char* range) {
    throw ConfigError(fmt::format("{} is {}", key, value), key, range);
  };
  if (!(o.temperature > 0.0) || !std::isfinite(o.temperature))
    refuse("temperature", o.temperature, "give a number above 0, or do_sample: false");
  if (!(o.top_p > 0.0 && o.top_p <= 1.0)) refuse("top_p", o.top_p, "give a number above 0, at most 1");
  if (o.top_k < 0) refuse("top_k", static_cast<double>(o.top_k), "give 0 (all tokens) or more");
  if (!(o.repetition_penalty > 0.0) || !std::isfinite(o.repetition_penalty))
    refuse("repetition_penalty", o.repetition_penalty, "give a number above 0");
  if (o.max_new_tokens < 1) refuse("max_new_tokens", static_cast<double>(o.max_new_tokens), "give 1 or more");
}

std::int32_t choose_token(std::span<float> logits, std::span<const std::int32_t> context,
                          const SamplingOptions& options, double uniform) {
  if (!std::all_of(logits.begin(), logits.end(), [](float v) { return std::isfinite(v); })) {
    throw Error("a logit is not finite", {},
                "the weights of this model hold NaN or infinity, or its numbers overflow in this dtype");
  }
  if (options.repetition_penalty != 1.0) penalise_repetition(logits, context, options.repetition_penalty);
  if (!options.do_sample)
    return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());

  const auto temperature = static_cast<float>(options.temperature);
  for (float& logit : logits) logit /= temperature;
  const std::vector<std::int32_t> ids = likeliest(logits, options.top_k);
  const auto logit_of = [&](std::int32_t id) { return static_cast<double>(logits[static_cast<std::size_t>(id)]); };
  std::vector<double> share(ids.size());
  std::transform(ids.begin(), ids.end(), share.begin(),
                 [&](std::int32_t id) { return std::exp(logit_of(id) - logit_of(ids.front())); });
  const double all = std::accumulate(share.begin(), share.end(), 0.0);
  // A token stays while those before it hold less than top_p.
  std::size_t kept = 0;
  double before = 0.0;
  while (kept < ids.size() && (kept == 0 || before < options.top_p * all)) before += share[kept++];

  double left = uniform * before;
  for (std::size_t i = 0; i + 1 < kept; ++i) {
    left -= share[i];
    if (left < 0.0) return ids[i];
  }
  return ids[kept - 1];
}

}  // namespace dstrain
