// SPDX-License-Identifier: Apache-2.0
/// The generator's entries in the memory plan.
#pragma once

#include "model/decoder_buffers.hpp"
#include "model/generator.hpp"

namespace dstrain {

/// Products with up to this many rows (one per sequence) run unpadded.
inline constexpr std::int64_t most_single_rows = 64;

/// Rows that a pass of `tokens` rows computes.
constexpr std::int64_t generator_rows(std::int64_t tokens) noexcept {
  return tokens <= most_single_rows ? tokens : token_class(tokens);
}

struct GeneratorBuffers {
  GeneratorOptions options;
  BufferId cache;  ///< [layers, max_sequences, max_length, k and v]
  BufferId rope_cos, rope_sin;
  BufferId residual, normed, delta, hidden, qkv, attention, gate_up, kept, logits, ids, positions;
  BufferId rstd_heads, added, head_rows;  ///< where the family has what they are for
  BufferId workspace;
  AdapterBuffers adapters;
};

}  // namespace dstrain
