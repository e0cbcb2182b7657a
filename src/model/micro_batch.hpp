// SPDX-License-Identifier: Apache-2.0
/// One packed row of tokens: what a forward pass eats.
#pragma once

#include <cstdint>
#include <span>

namespace dstrain {

/// One micro-batch (one slot of a step): several rows one after the other, no padding between them.
///
/// T = padded_tokens: tokens rounded up to a class (multiples of 64 up to 1,024, then of 128). Rows [tokens, T) belong
/// to no segment, have target -1 and weight 0; no result depends on them. Nothing here is derived from another field by
/// a kernel.
struct MicroBatch {
  std::int64_t tokens = 0;
  std::int64_t padded_tokens = 0;
  std::span<const std::int32_t> input_ids;     ///< [T]
  std::span<const std::int32_t> position_ids;  ///< [T]
  std::span<const std::int32_t> cu_seqlens;    ///< [segments + 1], starts of the attention segments; last = tokens
  /// [segments]: what each sees of its tokens; the rest is padding whose predictions count. Empty: all of them.
  std::span<const std::int32_t> key_lens = {};
  std::span<const std::int32_t> targets;  ///< [T], already shifted inside the row; -1: none
  std::span<const float> weights;         ///< [T], d(loss)/d(nll_t): 1/denominator where there is a target, else 0
  std::int32_t max_seqlen = 0;            ///< longest attention segment
  std::int32_t padded_len = 0;            ///< what HF would have padded the rows to (dynamic RoPE, NEFTune)
  std::int64_t rows = 0;                  ///< HF rows in it
  std::uint32_t sample = 0;               ///< number of the slot in the run: key of random numbers
};

/// T rounded up to its class.
constexpr std::int64_t token_class(std::int64_t tokens) noexcept {
  const std::int64_t step = tokens <= 1024 ? 64 : 128;
  return tokens <= 0 ? step : (tokens + step - 1) / step * step;
}

}  // namespace dstrain
