// SPDX-License-Identifier: Apache-2.0
#include "model/batch_checks.hpp"

#include "core/error.hpp"

namespace dstrain {

namespace {

void check_sizes(const MicroBatch& b, const BatchLimits& limits) {
  if (b.padded_tokens < b.tokens || b.padded_tokens > limits.tokens) {
    throw ShapeError(fmt::format("a micro-batch of {} tokens in {} rows; {} rows were planned", b.tokens,
                                 b.padded_tokens, limits.tokens));
  }
  const auto T = static_cast<std::size_t>(b.padded_tokens);
  if (b.input_ids.size() < T || b.position_ids.size() < T || b.targets.size() < T || b.weights.size() < T) {
    throw ShapeError(fmt::format("an array of a micro-batch is shorter than its {} rows", T));
  }
}

void check_segments(const MicroBatch& b) {
  const auto& cu = b.cu_seqlens;
  bool good = cu.size() >= 2 && cu.front() == 0 && cu.back() == b.tokens;
  for (std::size_t i = 1; good && i < cu.size(); ++i) good = cu[i] >= cu[i - 1] && cu[i] - cu[i - 1] <= b.max_seqlen;
  const auto& seen = b.key_lens;
  good = good && (seen.empty() || seen.size() + 1 == cu.size());
  for (std::size_t i = 0; good && i < seen.size(); ++i) good = seen[i] >= 0 && seen[i] <= cu[i + 1] - cu[i];
  if (!good) {
    throw ShapeError(fmt::format("the segments of a micro-batch do not cover its {} tokens in pieces of at most {}",
                                 b.tokens, b.max_seqlen));
  }
}

}  // namespace

void check_batch(const MicroBatch& b, const BatchLimits& limits) {
  check_sizes(b, limits);
  check_segments(b);
  for (std::int64_t t = 0; t < b.padded_tokens; ++t) {
    const auto i = static_cast<std::size_t>(t);
    const std::int32_t id = b.input_ids[i];
    if (id < 0 || id >= limits.vocab_size || b.targets[i] >= limits.vocab_size) {
      throw ConfigError(fmt::format("token id {} is outside the model's vocabulary of {}",
                                    id < 0 || id >= limits.vocab_size ? id : b.targets[i], limits.vocab_size),
                        {},
                        "the tokenizer does not belong to this model, or has more tokens than its embedding has rows");
    }
    if (b.position_ids[i] < 0 || b.position_ids[i] >= limits.positions) {
      throw ShapeError(
          fmt::format("position {} of a token; {} positions were planned", b.position_ids[i], limits.positions));
    }
    if (t >= b.tokens && b.targets[i] >= 0) throw ShapeError("a padding row has a target");
  }
}

}  // namespace dstrain
