// SPDX-License-Identifier: Apache-2.0
/// One transformer block: forward in three pieces (so that generation can put its cache between them) and backward.
///
/// T packed tokens, D hidden, Q and KV widths of all query and all key heads, F feed-forward width.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/ops/attention.hpp"
#include "kernels/ops/head_norm.hpp"
#include "model/decoder_buffers.hpp"
#include "model/linear.hpp"
#include "model/norm.hpp"
#include "model/rope_tables.hpp"

namespace dstrain {

/// What forward leaves for backward. `kept` is what a norm keeps of its rows.
struct BlockActivations {
  Data input_TD;   ///< residual stream before the block
  Data middle_TD;  ///< residual stream after attention; may be input_TD where no backward follows
  Data qkv;        ///< [T, Q + 2 KV], normed and rotated
  Data attention_TQ;
  Data gate_up;   ///< [T, 2 F], without a gate [T, F]
  float* lse_NT;  ///< may be null where no backward follows
  float* kept_input;
  float* kept_middle;
  Data heads;               ///< [T, Q + KV], q and k before their norms; null where no backward follows
  float* rstd_heads;        ///< [T, heads of both]
  Data attention_added_TD;  ///< what attention and feed-forward layer gave before the norms behind them
  Data feed_forward_added_TD;
  float* kept_attention_added;
  float* kept_feed_forward_added;
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
  DropoutKey dropout = {};                 ///< seed and sample; probability 0: nothing is dropped
  const std::int32_t* key_lens = nullptr;  ///< MicroBatch's; null: none
  AttentionKernels attention = AttentionKernels::own;
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
  void expand(const Exec& exec, const UnitWeights& w, const BlockRows& rows, const BlockActivations& a,
              const BlockScratch& s) const;
  /// delta = what the feed-forward layer adds to the residual stream.
  void contract(const Exec& exec, const UnitWeights& w, const BlockRows& rows, const BlockActivations& a,
                const BlockScratch& s) const;
  /// The residual stream that contract()'s delta is added to.
  [[nodiscard]] Data stream(const BlockActivations& a, const BlockScratch& s) const noexcept {
    return residual_after_norm_ ? s.normed_TD : a.middle_TD;
  }

  /// dx_TD: gradient of the block's output on entry, of its input on return. Overwrites a.gate_up.
  /// @param recomputed  project(), attend() and expand() just ran: s.normed_TD still holds the norm of a.middle_TD
  void backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g, const BlockRows& rows,
                const RopeTables& rope, Data dx_TD, const BlockActivations& a, const BlockScratch& s,
                bool recomputed) const;

  /// Attention of this block with training's strides; segments and T are left for the caller where they differ.
  [[nodiscard]] AttentionShape attention_shape(const BlockRows& rows) const;
  [[nodiscard]] const DecoderSizes& sizes() const noexcept { return sizes_; }
  /// Its matrix products, for plans.
  [[nodiscard]] std::array<const Linear*, 4> linears() const noexcept { return {&qkv_, &o_, &gate_up_, &down_}; }

 private:
  /// A norm behind a layer and what it normed.
  struct Added {
    const Norm& norm;
    Data before_TD;
    float* kept;
    std::uint32_t site;
  };
  [[nodiscard]] Added attention_added(const BlockActivations& a) const;
  [[nodiscard]] Added feed_forward_added(const BlockActivations& a) const;
  /// Norm, dropout and factor on their way from a layer to the residual stream, in delta_TD.
  void finish_added(const Exec& exec, const UnitWeights& w, const BlockRows& rows, const Added& added,
                    Data delta_TD) const;
  /// The gradient of what the layer gave, from that of the stream: dx_TD itself, or made in scratch_TD.
  [[nodiscard]] ConstData added_backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g,
                                         const BlockRows& rows, const Added& added, Data dx_TD, Data scratch_TD) const;
  /// dx_TD (+)= through a norm from dnormed_TD; where the stream comes from behind the norm, dx_TD goes through it too.
  void norm_backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g, const Norm& norm, Data dx_TD,
                     Data dnormed_TD, ConstData x_TD, float* kept, std::int64_t T) const;
  /// Of the norm of all query heads; that of the keys has kv_heads.
  [[nodiscard]] HeadNormShape query_norm_shape(std::int64_t T) const;
  void head_norms(const Exec& exec, const UnitWeights& w, std::int64_t T, const BlockActivations& a) const;
  void head_norms_backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g, std::int64_t T, Data dqkv,
                           const BlockActivations& a) const;
  void rotate(const Exec& exec, const BlockRows& rows, const RopeTables& rope, Data qkv, bool inverse) const;
  void feed_forward_backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g, const BlockRows& rows,
                             Data dx_TD, const BlockActivations& a, const BlockScratch& s, bool recomputed) const;
  [[nodiscard]] DropoutKey dropout(const BlockRows& rows, double probability, std::uint32_t site) const;

  DecoderSizes sizes_;
  float eps_;
  NormKind norm_kind_;
  std::int32_t window_;
  bool rotary_;
  std::int64_t rotary_dim_;
  bool interleaved_;
  bool residual_after_norm_;
  float residual_scale_;
  float attention_scale_;
  float attention_softcap_;
  std::vector<float> alibi_slopes_;  ///< per head; empty: none
  DropoutSpec dropout_;
  std::uint32_t first_site_;  ///< of this block's dropout: attention's output, feed-forward layer's, then each head
  Activation activation_;
  bool gated_;
  Linear qkv_, o_, gate_up_, down_;
  Norm input_norm_, middle_norm_, attention_norm_, feed_forward_norm_;
  const TensorLayout* q_norm_ = nullptr;
  const TensorLayout* k_norm_ = nullptr;
};

}  // namespace dstrain
