// SPDX-License-Identifier: Apache-2.0
/// One transformer block: forward in three pieces (so that generation can put its cache between them) and backward.
///
/// T packed tokens, D hidden, Q and KV widths of all query and all key heads, F feed-forward width.
#pragma once

#include <cstdint>

#include "kernels/ops/attention.hpp"
#include "model/decoder_buffers.hpp"
#include "model/linear.hpp"
#include "model/rope_tables.hpp"

namespace dstrain {

/// What forward leaves for backward.
struct BlockActivations {
  Data input_TD;   ///< residual stream before the block
  Data middle_TD;  ///< residual stream after attention; may be input_TD where no backward follows
  Data qkv;        ///< [T, Q + 2 KV], rotated
  Data attention_TQ;
  Data gate_up;   ///< [T, 2 F]
  float* lse_NT;  ///< may be null where no backward follows
  float* rstd_input_T;
  float* rstd_middle_T;
};

/// Buffers whose contents no one else relies on.
struct BlockScratch {
  Data normed_TD;
  Data delta_TD;  ///< forward: what the last product adds to the residual stream
  Data hidden_TF;
  Data dattention_TQ;
  Data dqkv;
};

/// The rows of one call.
struct BlockRows {
  std::int64_t T = 0;       ///< rows computed
  std::int64_t tokens = 0;  ///< rows that belong to a segment
  std::int64_t segments = 0;
  const std::int32_t* cu_seqlens = nullptr;
  std::int32_t max_seqlen = 0;
  const std::int32_t* positions_T = nullptr;
};

/// Where the tensors of block `layer` lie, and its mathematics. Holds no weights and no activations.
class Block {
 public:
  Block(const ModelSpec& spec, const ModelLayout& layout, std::int64_t layer);

  /// input = residual + delta (where delta.data is not null), then norm, q k v, rotation.
  void project(const Exec& exec, const UnitWeights& w, const BlockRows& rows, const RopeTables& rope,
               ConstData residual, ConstData delta, const BlockActivations& a, const BlockScratch& s) const;
  /// Attention of the rows among themselves. Rows outside every segment are set to zero.
  void attend(const Exec& exec, const BlockRows& rows, const BlockActivations& a) const;
  /// Output projection, middle = input + it, norm, gate and up.
  void expand(const Exec& exec, const UnitWeights& w, std::int64_t T, const BlockActivations& a,
              const BlockScratch& s) const;
  /// delta = what the feed-forward layer adds to middle.
  void contract(const Exec& exec, const UnitWeights& w, std::int64_t T, const BlockActivations& a,
                const BlockScratch& s) const;

  /// dx_TD: gradient of the block's output on entry, of its input on return. Overwrites a.gate_up.
  /// @param normed_is_middle  s.normed_TD still holds the norm of a.middle_TD (after expand())
  void backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g, const BlockRows& rows,
                const RopeTables& rope, Data dx_TD, const BlockActivations& a, const BlockScratch& s,
                bool normed_is_middle) const;

  /// Attention of this block with training's strides; segments and T are left for the caller where they differ.
  [[nodiscard]] AttentionShape attention_shape(const BlockRows& rows) const;
  [[nodiscard]] const DecoderSizes& sizes() const noexcept { return sizes_; }

 private:
  [[nodiscard]] RopeShape rotation(std::int64_t T) const;
  void feed_forward_backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g, std::int64_t T, Data dx_TD,
                             const BlockActivations& a, const BlockScratch& s, bool normed_is_middle) const;

  DecoderSizes sizes_;
  float eps_;
  std::int32_t window_;
  std::int64_t rotary_dim_;
  bool interleaved_;
  Linear qkv_, o_, gate_up_, down_;
  const TensorLayout* input_norm_;
  const TensorLayout* middle_norm_;
};

}  // namespace dstrain
