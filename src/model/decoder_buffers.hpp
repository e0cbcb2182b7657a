// SPDX-License-Identifier: Apache-2.0
/// The decoder's sizes and its entries in the memory plan.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "model/decoder.hpp"
#include "model/linear.hpp"

namespace dstrain {

/// Widths of the rows that flow through a model. D hidden, Q all query heads, KV all key heads, F feed-forward, V
/// vocabulary.
struct DecoderSizes {
  std::int64_t layers, D, Q, KV, F, V;
  std::int64_t heads, kv_heads, head_dim;
  std::int64_t chunk_rows;  ///< rows of logits that exist at one time

  explicit DecoderSizes(const ModelSpec& spec) noexcept;
  [[nodiscard]] std::int64_t qkv_width() const noexcept { return Q + 2 * KV; }
  [[nodiscard]] LinearShape qkv() const noexcept { return {D, qkv_width()}; }
  [[nodiscard]] LinearShape o() const noexcept { return {Q, D}; }
  [[nodiscard]] LinearShape gate_up() const noexcept { return {D, 2 * F}; }
  [[nodiscard]] LinearShape down() const noexcept { return {F, D}; }
  [[nodiscard]] LinearShape head() const noexcept { return {D, V}; }
};

/// One matrix product that a decoder will ask for.
struct Product {
  MatmulShape shape;
  DType a_b;
  DType c;
  bool accumulate;
};

/// Every product of a forward (and, with `train`, backward) pass over T rows. Local.
std::vector<Product> decoder_products(const DecoderSizes& sizes, DType dtype, std::int64_t T, bool train);

/// Kernel workspace for all token classes up to `max_tokens`. Local.
std::int64_t decoder_workspace_bytes(const ModelSpec& spec, const DecoderOptions& options);

/// T of the largest pass without backward.
constexpr std::int64_t forward_tokens(const DecoderOptions& o) noexcept {
  return o.max_forward_tokens > o.max_tokens ? o.max_forward_tokens : o.max_tokens;
}

/// Entries in order of use. `slots` is 1 where activations are recomputed or never needed again, else the number of
/// layers.
struct DecoderBuffers {
  DecoderOptions options;
  std::int64_t input_slots = 1;  ///< block inputs kept
  std::int64_t slots = 1;        ///< other activations kept
  BufferId rope_cos, rope_sin;
  BufferId block_inputs, middle, qkv, attention, lse, rstd_input, rstd_middle, gate_up;
  BufferId normed, delta, hidden;
  BufferId logits, dlogits, nll, predicted, rstd_final;
  BufferId scaled_weights;  ///< f32, f16 only: the weights times the loss scale
  BufferId dx, dattention, dqkv;
  BufferId workspace;
};

}  // namespace dstrain
