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
  std::int64_t chunk_rows;    ///< rows of logits that exist at one time
  std::int64_t wide;          ///< what the feed-forward layer's activation reads: 2 F with a gate, else F
  std::int64_t group_stride;  ///< columns from one key head's queries, key and value to the next's; 0: q, k, v apart
  bool transposed;            ///< weights of blocks are stored [in, out]

  explicit DecoderSizes(const ModelSpec& spec) noexcept;
  [[nodiscard]] std::int64_t qkv_width() const noexcept { return Q + 2 * KV; }
  /// First columns of k and v in a row of q k v.
  [[nodiscard]] std::int64_t k_at() const noexcept { return group_stride > 0 ? group_stride - 2 * head_dim : Q; }
  [[nodiscard]] std::int64_t v_at() const noexcept { return group_stride > 0 ? group_stride - head_dim : Q + KV; }
  [[nodiscard]] LinearShape qkv() const noexcept { return {D, qkv_width(), transposed}; }
  [[nodiscard]] LinearShape o() const noexcept { return {Q, D, transposed}; }
  [[nodiscard]] LinearShape gate_up() const noexcept { return {D, wide, transposed}; }
  [[nodiscard]] LinearShape down() const noexcept { return {F, D, transposed}; }
  [[nodiscard]] LinearShape head() const noexcept { return {D, V}; }
};

/// One matrix product that a decoder will ask for.
struct Product {
  MatmulShape shape;
  DType a_b;
  DType c;
  bool accumulate;
};

/// Every product of a forward (and, with `train`, backward) pass over T rows but those of adapters. Local.
/// @param weight_gradients  false: all matrices are frozen
std::vector<Product> decoder_products(const DecoderSizes& sizes, DType dtype, std::int64_t T, bool train,
                                      bool weight_gradients = true);

/// Kernel workspace for all token classes up to `max_tokens`. Local.
std::int64_t decoder_workspace_bytes(const ModelSpec& spec, const ModelLayout& layout, const DecoderOptions& options,
                                     DeviceKind device = DeviceKind::cpu);

/// Entries of adapters (model/adapters/adapter_plan.hpp); invalid where there are none.
struct AdapterBuffers {
  std::size_t adapters = 0;
  std::int64_t columns = 0;  ///< DoRA: of all adapters
  BufferId rows, gradients, input, update, scaled, factors;
};

/// T of the largest pass without backward.
constexpr std::int64_t forward_tokens(const DecoderOptions& o) noexcept {
  return o.max_forward_tokens > o.max_tokens ? o.max_forward_tokens : o.max_tokens;
}

/// Parts of a model that not every family has, each with memory of its own.
struct DecoderParts {
  bool rotary, embedding_norm, head_norms, added_norms, normalised_head;
  std::int64_t norm_kept;  ///< floats that a norm keeps of each row

  explicit DecoderParts(const ModelSpec& spec) noexcept;
};

/// Entries in order of use. `slots` is 1 where activations are recomputed or never needed again, else the number of
/// layers.
struct DecoderBuffers {
  DecoderOptions options;
  std::int64_t input_slots = 1;  ///< block inputs kept
  std::int64_t slots = 1;        ///< other activations kept
  BufferId rope_cos, rope_sin;
  BufferId ids, positions, targets, weights;  ///< of the batch, where kernels run on a GPU
  BufferId looked_up, kept_embedding;         ///< where the embedding has a norm
  BufferId block_inputs, middle, qkv, attention, lse, kept_input, kept_middle, gate_up;
  BufferId heads, rstd_heads;  ///< q and k before their norms
  BufferId added, kept_added;  ///< what attention and feed-forward layer gave before the norms behind them
  BufferId normed, delta, hidden;
  BufferId logits, dlogits, nll, predicted, kept_final, head_rows;
  BufferId loss_sums;       ///< f64 [3]: what forward() returns, where kernels write it
  BufferId scaled_weights;  ///< f32, f16 only: the weights times the loss scale
  BufferId dx, dattention, dqkv;
  BufferId workspace;
  AdapterBuffers adapters;
};

}  // namespace dstrain
