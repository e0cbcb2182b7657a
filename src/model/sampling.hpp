// SPDX-License-Identifier: Apache-2.0
/// From logits to the next token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace dstrain {

/// Names and defaults are LLaMA-Factory's GeneratingArguments.
struct SamplingOptions {
  bool do_sample = true;  ///< false: always the likeliest token
  double temperature = 0.95;
  std::int64_t top_k = 50;  ///< 0: all tokens
  double top_p = 0.7;
  double repetition_penalty = 1.0;
  std::uint64_t seed = 42;
  std::uint32_t first_prompt = 0;  ///< number of the first prompt among all: key of random numbers
  std::int64_t max_new_tokens = 1024;
  std::vector<std::int32_t> stop_ids;  ///< an answer ends before any of these
};

/// @throws ConfigError naming the option that is out of its range
void check_sampling(const SamplingOptions& options);

/// The next token. Local.
///
/// Order and meaning of transformers' logits processors: repetition penalty on every token of `context` (Keskar et al.,
/// arXiv:1909.05858), temperature, top-k (ties kept), top-p (Holtzman et al., arXiv:1904.09751). Of equal logits the
/// lowest id is the likelier one.
/// @param logits   [vocab_size], changed
/// @param context  prompt and tokens so far
/// @param uniform  in [0, 1): the draw; not looked at without do_sample
/// @throws Error  a logit is not finite
std::int32_t choose_token(std::span<float> logits, std::span<const std::int32_t> context,
                          const SamplingOptions& options, double uniform);

}  // namespace dstrain
