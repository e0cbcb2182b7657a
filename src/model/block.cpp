// SPDX-License-Identifier: Apache-2.0
#include "model/block.hpp"

#include <cmath>

#include "core/error.hpp"
#include "kernels/ops/elementwise.hpp"
#include "kernels/ops/rms_norm.hpp"
#include "model/families/family.hpp"

namespace dstrain {

namespace {

/// dw of a norm, or null where it is frozen.
float* norm_gradient(const UnitGradient& gradient, const TensorLayout& tensor) {
  return tensor.part == PartKind::trainable ? gradient.of(tensor) : nullptr;
}

}  // namespace

Block::Block(const ModelSpec& spec, const ModelLayout& layout, std::int64_t layer)
    : sizes_(spec),
      eps_(static_cast<float>(spec.norm_eps)),
      window_(spec.window_of(layer)),
      rotary_dim_(spec.rope.rotary_dim),
      interleaved_(spec.rope.interleaved) {
  const FamilyNames& names = spec.family->names;
  const int unit = static_cast<int>(layer) + 1;
  qkv_ = make_linear(layout, unit, sizes_.qkv(), names.qkv[0]);
  o_ = make_linear(layout, unit, sizes_.o(), names.o);
  gate_up_ = make_linear(layout, unit, sizes_.gate_up(), names.gate_up[0]);
  down_ = make_linear(layout, unit, sizes_.down(), names.down);
  input_norm_ = find_in_unit(layout, unit, std::string(names.input_norm) + ".weight");
  middle_norm_ = find_in_unit(layout, unit, std::string(names.middle_norm) + ".weight");
  DSTRAIN_CHECK(input_norm_ != nullptr && middle_norm_ != nullptr, "unit {} has no norms", unit);
}

AttentionShape Block::attention_shape(const BlockRows& rows) const {
  AttentionShape a{};
  a.T = rows.T;
  a.segments = rows.segments;
  a.cu_q = a.cu_k = rows.cu_seqlens;
  a.max_seqlen = rows.max_seqlen;
  a.heads = sizes_.heads;
  a.kv_heads = sizes_.kv_heads;
  a.head_dim = sizes_.head_dim;
  a.q_stride = a.kv_stride = sizes_.qkv_width();
  a.out_stride = sizes_.Q;
  a.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(sizes_.head_dim)));
  a.window = window_;
  return a;
}

RopeShape Block::rotation(std::int64_t T) const {
  return {.T = T,
          .heads = sizes_.heads + sizes_.kv_heads,
          .head_dim = sizes_.head_dim,
          .stride = sizes_.qkv_width(),
          .rotary_dim = rotary_dim_,
          .interleaved = interleaved_};
}

void Block::project(const Exec& exec, const UnitWeights& w, const BlockRows& rows, const RopeTables& rope,
                    ConstData residual, ConstData delta, const BlockActivations& a, const BlockScratch& s) const {
  ops::rms_norm_forward(exec, s.normed_TD, a.input_TD, a.rstd_input_T, residual, delta, w.of(*input_norm_), eps_,
                        {rows.T, sizes_.D});
  qkv_.forward(exec, a.qkv, s.normed_TD, rows.T, w);
  // q and k lie side by side: one rotation over the heads of both.
  ops::rope(exec, a.qkv, rope.cos(), rope.sin(), rows.positions_T, rotation(rows.T), false);
}

void Block::attend(const Exec& exec, const BlockRows& rows, const BlockActivations& a) const {
  ops::attention_forward(exec, a.attention_TQ, a.lse_NT, a.qkv, a.qkv.at(sizes_.Q), a.qkv.at(sizes_.Q + sizes_.KV),
                         attention_shape(rows));
  // What stood there before may be NaN, and 0 * NaN would reach the weight gradients.
  ops::fill_zero(exec, a.attention_TQ.at(rows.tokens * sizes_.Q), (rows.T - rows.tokens) * sizes_.Q);
}

void Block::expand(const Exec& exec, const UnitWeights& w, std::int64_t T, const BlockActivations& a,
                   const BlockScratch& s) const {
  o_.forward(exec, s.delta_TD, a.attention_TQ, T, w);
  ops::rms_norm_forward(exec, s.normed_TD, a.middle_TD, a.rstd_middle_T, a.input_TD, s.delta_TD, w.of(*middle_norm_),
                        eps_, {T, sizes_.D});
  gate_up_.forward(exec, a.gate_up, s.normed_TD, T, w);
}

void Block::contract(const Exec& exec, const UnitWeights& w, std::int64_t T, const BlockActivations& a,
                     const BlockScratch& s) const {
  ops::swiglu_forward(exec, s.hidden_TF, a.gate_up, T, sizes_.F);
  down_.forward(exec, s.delta_TD, s.hidden_TF, T, w);
}

void Block::feed_forward_backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g, std::int64_t T,
                                  Data dx_TD, const BlockActivations& a, const BlockScratch& s,
                                  bool normed_is_middle) const {
  ops::swiglu_forward(exec, s.hidden_TF, a.gate_up, T, sizes_.F);
  down_.weight_gradient(exec, g, dx_TD, s.hidden_TF, T);
  down_.input_gradient(exec, s.hidden_TF, dx_TD, T, w);  // hidden is not needed any more: its gradient takes its place
  ops::swiglu_backward(exec, a.gate_up, s.hidden_TF, a.gate_up, T, sizes_.F);

  if (!normed_is_middle) {
    ops::rms_norm_forward(exec, s.normed_TD, {}, a.rstd_middle_T, a.middle_TD, {}, w.of(*middle_norm_), eps_,
                          {T, sizes_.D});
  }
  gate_up_.weight_gradient(exec, g, a.gate_up, s.normed_TD, T);
  gate_up_.input_gradient(exec, s.delta_TD, a.gate_up, T, w);
  ops::rms_norm_backward(exec, dx_TD, norm_gradient(g, *middle_norm_), s.delta_TD, a.middle_TD, w.of(*middle_norm_),
                         a.rstd_middle_T, {T, sizes_.D}, true, g.accumulate);
}

void Block::backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g, const BlockRows& rows,
                     const RopeTables& rope, Data dx_TD, const BlockActivations& a, const BlockScratch& s,
                     bool normed_is_middle) const {
  const std::int64_t T = rows.T;
  feed_forward_backward(exec, w, g, T, dx_TD, a, s, normed_is_middle);

  o_.weight_gradient(exec, g, dx_TD, a.attention_TQ, T);
  o_.input_gradient(exec, s.dattention_TQ, dx_TD, T, w);
  const std::int64_t k = sizes_.Q;
  const std::int64_t v = sizes_.Q + sizes_.KV;
  ops::attention_backward(exec, s.dqkv, s.dqkv.at(k), s.dqkv.at(v), s.dattention_TQ, a.attention_TQ, a.lse_NT, a.qkv,
                          a.qkv.at(k), a.qkv.at(v), attention_shape(rows));
  ops::rope(exec, s.dqkv, rope.cos(), rope.sin(), rows.positions_T, rotation(T), true);

  ops::rms_norm_forward(exec, s.normed_TD, {}, a.rstd_input_T, a.input_TD, {}, w.of(*input_norm_), eps_, {T, sizes_.D});
  qkv_.weight_gradient(exec, g, s.dqkv, s.normed_TD, T);
  qkv_.input_gradient(exec, s.delta_TD, s.dqkv, T, w);
  ops::rms_norm_backward(exec, dx_TD, norm_gradient(g, *input_norm_), s.delta_TD, a.input_TD, w.of(*input_norm_),
                         a.rstd_input_T, {T, sizes_.D}, true, g.accumulate);
}

}  // namespace dstrain
