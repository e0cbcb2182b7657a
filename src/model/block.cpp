// SPDX-License-Identifier: Apache-2.0
#include "model/block.hpp"

#include <cmath>

#include "core/error.hpp"
#include "kernels/ops/activation.hpp"
#include "kernels/ops/elementwise.hpp"
#include "kernels/ops/head_norm.hpp"
#include "model/alibi.hpp"
#include "model/families/family.hpp"

namespace dstrain {

namespace {

enum Site : std::uint32_t { attention_site = 0, feed_forward_site = 1, first_head_site = 2 };

/// 0 is the embedding's; every block has one for each place where it drops.
std::uint32_t first_site_of(const ModelSpec& spec, std::int64_t layer) {
  return 1 + static_cast<std::uint32_t>(layer * (spec.num_attention_heads + first_head_site));
}

float attention_scale_of(const ModelSpec& spec, std::int64_t layer) {
  double scale = spec.attention_scale;
  if (scale == 0.0) scale = 1.0 / std::sqrt(static_cast<double>(spec.head_dim));
  if (spec.attention_scale_by_layer) scale /= static_cast<double>(layer + 1);
  return static_cast<float>(scale);
}

}  // namespace

Block::Block(const ModelSpec& spec, const ModelLayout& layout, std::int64_t layer)
    : sizes_(spec),
      eps_(static_cast<float>(spec.norm_eps)),
      norm_kind_(spec.norm),
      window_(spec.window_of(layer)),
      rotary_(spec.positions == PositionKind::rotary),
      rotary_dim_(spec.rope.rotary_dim),
      interleaved_(spec.rope.interleaved),
      residual_after_norm_(spec.residual_after_norm),
      residual_scale_(static_cast<float>(spec.residual_scale)),
      attention_scale_(attention_scale_of(spec, layer)),
      attention_softcap_(static_cast<float>(spec.attention_softcap)),
      dropout_(spec.dropout),
      first_site_(first_site_of(spec, layer)),
      activation_(spec.activation),
      gated_(spec.gated) {
  const FamilyNames& names = spec.family->names;
  const int unit = static_cast<int>(layer) + 1;
  const auto norm = [&](const char* module) { return module == nullptr ? Norm() : Norm(spec, layout, unit, module); };
  qkv_ = make_linear(layout, unit, sizes_.qkv(), names.qkv[0]);
  o_ = make_linear(layout, unit, sizes_.o(), names.o);
  gate_up_ = make_linear(layout, unit, sizes_.gate_up(), names.gate_up[0]);
  down_ = make_linear(layout, unit, sizes_.down(), names.down);
  input_norm_ = norm(names.input_norm);
  middle_norm_ = norm(names.middle_norm);
  attention_norm_ = norm(names.attention_norm);
  feed_forward_norm_ = norm(names.feed_forward_norm);
  if (names.q_norm != nullptr) {
    q_norm_ = find_in_unit(layout, unit, std::string(names.q_norm) + ".weight");
    k_norm_ = find_in_unit(layout, unit, std::string(names.k_norm) + ".weight");
    DSTRAIN_CHECK(q_norm_ != nullptr && k_norm_ != nullptr, "unit {} has no norms of heads", unit);
  }
  if (spec.positions == PositionKind::alibi) alibi_slopes_ = alibi_slopes(spec.num_attention_heads);
}

DropoutKey Block::dropout(const BlockRows& rows, double probability, std::uint32_t site) const {
  DropoutKey key = rows.dropout;
  key.probability = key.probability > 0.0F ? static_cast<float>(probability) : 0.0F;
  key.site = first_site_ + site;
  return key;
}

AttentionShape Block::attention_shape(const BlockRows& rows) const {
  AttentionShape a{};
  a.T = rows.T;
  a.segments = rows.segments;
  a.cu_q = a.cu_k = rows.cu_seqlens;
  a.max_seqlen = rows.max_seqlen;
  a.key_lens = rows.key_lens;
  a.heads = sizes_.heads;
  a.kv_heads = sizes_.kv_heads;
  a.head_dim = sizes_.head_dim;
  a.q_stride = a.kv_stride = sizes_.qkv_width();
  a.q_group_stride = a.kv_head_stride = sizes_.group_stride;
  a.out_stride = sizes_.Q;
  a.scale = attention_scale_;
  a.window = window_;
  a.softcap = attention_softcap_;
  a.alibi_slopes = alibi_slopes_.empty() ? nullptr : alibi_slopes_.data();
  a.dropout = dropout(rows, dropout_.attention, first_head_site);
  a.kernels = rows.attention;
  return a;
}

void Block::rotate(const Exec& exec, const BlockRows& rows, const RopeTables& rope, Data qkv, bool inverse) const {
  if (!rotary_) return;
  const bool groups = sizes_.group_stride > 0;
  // q and k lie side by side, of all heads or of each group: one rotation over the heads of both.
  const RopeShape shape{.T = rows.T,
                        .heads = groups ? sizes_.heads / sizes_.kv_heads + 1 : sizes_.heads + sizes_.kv_heads,
                        .head_dim = sizes_.head_dim,
                        .stride = sizes_.qkv_width(),
                        .rotary_dim = rotary_dim_,
                        .interleaved = interleaved_,
                        .groups = groups ? sizes_.kv_heads : 1,
                        .group_stride = sizes_.group_stride};
  ops::rope(exec, qkv, rope.cos(), rope.sin(), rows.positions_T, shape, inverse);
}

HeadNormShape Block::query_norm_shape(std::int64_t T) const {
  return {.T = T,
          .heads = sizes_.heads,
          .head_dim = sizes_.head_dim,
          .stride = sizes_.qkv_width(),
          .kept_stride = sizes_.Q + sizes_.KV,
          .rstd_stride = sizes_.heads + sizes_.kv_heads,
          .plus_one = norm_kind_ == NormKind::rms_plus_one};
}

void Block::head_norms(const Exec& exec, const UnitWeights& w, std::int64_t T, const BlockActivations& a) const {
  if (q_norm_ == nullptr) return;
  const bool keep = a.heads.data != nullptr;
  HeadNormShape shape = query_norm_shape(T);
  ops::head_norm_forward(exec, a.qkv, a.heads, a.rstd_heads, w.of(*q_norm_), eps_, shape);
  shape.heads = sizes_.kv_heads;
  ops::head_norm_forward(exec, a.qkv.at(sizes_.Q), keep ? a.heads.at(sizes_.Q) : Data{}, a.rstd_heads + sizes_.heads,
                         w.of(*k_norm_), eps_, shape);
}

void Block::head_norms_backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g, std::int64_t T,
                                Data dqkv, const BlockActivations& a) const {
  if (q_norm_ == nullptr) return;
  HeadNormShape shape = query_norm_shape(T);
  const auto dw = [&](const TensorLayout& norm) { return norm.part == PartKind::trainable ? g.of(norm) : nullptr; };
  ops::head_norm_backward(exec, dqkv, dw(*q_norm_), a.heads, a.rstd_heads, w.of(*q_norm_), shape, g.accumulate);
  shape.heads = sizes_.kv_heads;
  ops::head_norm_backward(exec, dqkv.at(sizes_.Q), dw(*k_norm_), a.heads.at(sizes_.Q), a.rstd_heads + sizes_.heads,
                          w.of(*k_norm_), shape, g.accumulate);
}

Block::Added Block::attention_added(const BlockActivations& a) const {
  return {attention_norm_, a.attention_added_TD, a.kept_attention_added, attention_site};
}

Block::Added Block::feed_forward_added(const BlockActivations& a) const {
  return {feed_forward_norm_, a.feed_forward_added_TD, a.kept_feed_forward_added, feed_forward_site};
}

void Block::finish_added(const Exec& exec, const UnitWeights& w, const BlockRows& rows, const Added& added,
                         Data delta_TD) const {
  const std::int64_t count = rows.T * sizes_.D;
  if (added.norm.exists()) added.norm.forward(exec, w, delta_TD, {}, added.kept, added.before_TD, {}, rows.T);
  ops::dropout(exec, delta_TD, count, dropout(rows, dropout_.residual, added.site));
  if (residual_scale_ != 1.0F) ops::scale(exec, delta_TD, residual_scale_, count);
}

ConstData Block::added_backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g, const BlockRows& rows,
                                const Added& added, Data dx_TD, Data scratch_TD) const {
  const DropoutKey key = dropout(rows, dropout_.residual, added.site);
  if (!added.norm.exists() && key.probability == 0.0F && residual_scale_ == 1.0F) return dx_TD;
  const std::int64_t count = rows.T * sizes_.D;
  ops::convert(exec, scratch_TD, dx_TD, count);
  if (residual_scale_ != 1.0F) ops::scale(exec, scratch_TD, residual_scale_, count);
  ops::dropout(exec, scratch_TD, count, key);
  if (added.norm.exists())
    added.norm.backward(exec, w, g, scratch_TD, scratch_TD, added.before_TD, added.kept, rows.T, false);
  return scratch_TD;
}

void Block::norm_backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g, const Norm& norm, Data dx_TD,
                          Data dnormed_TD, ConstData x_TD, float* kept, std::int64_t T) const {
  if (residual_after_norm_) ops::add(exec, dnormed_TD, dx_TD, T * sizes_.D);
  norm.backward(exec, w, g, dx_TD, dnormed_TD, x_TD, kept, T, !residual_after_norm_);
}

void Block::project(const Exec& exec, const UnitWeights& w, const BlockRows& rows, const RopeTables& rope,
                    ConstData residual, ConstData delta, const BlockActivations& a, const BlockScratch& s) const {
  input_norm_.forward(exec, w, s.normed_TD, a.input_TD, a.kept_input, residual, delta, rows.T);
  qkv_.forward(exec, a.qkv, s.normed_TD, rows.T, w);
  head_norms(exec, w, rows.T, a);
  rotate(exec, rows, rope, a.qkv, false);
}

void Block::attend(const Exec& exec, const BlockRows& rows, const BlockActivations& a) const {
  ops::attention_forward(exec, a.attention_TQ, a.lse_NT, a.qkv, a.qkv.at(sizes_.k_at()), a.qkv.at(sizes_.v_at()),
                         attention_shape(rows));
  // What stood there before may be NaN, and 0 * NaN would reach the weight gradients.
  ops::fill_zero(exec, a.attention_TQ.at(rows.tokens * sizes_.Q), (rows.T - rows.tokens) * sizes_.Q);
}

void Block::expand(const Exec& exec, const UnitWeights& w, const BlockRows& rows, const BlockActivations& a,
                   const BlockScratch& s) const {
  const Added added = attention_added(a);
  o_.forward(exec, added.norm.exists() ? added.before_TD : s.delta_TD, a.attention_TQ, rows.T, w);
  finish_added(exec, w, rows, added, s.delta_TD);
  const ConstData residual = residual_after_norm_ ? s.normed_TD : a.input_TD;
  middle_norm_.forward(exec, w, s.normed_TD, a.middle_TD, a.kept_middle, residual, s.delta_TD, rows.T);
  gate_up_.forward(exec, a.gate_up, s.normed_TD, rows.T, w);
}

void Block::contract(const Exec& exec, const UnitWeights& w, const BlockRows& rows, const BlockActivations& a,
                     const BlockScratch& s) const {
  const Added added = feed_forward_added(a);
  ops::activation_forward(exec, s.hidden_TF, a.gate_up, {rows.T, sizes_.F, activation_, gated_});
  down_.forward(exec, added.norm.exists() ? added.before_TD : s.delta_TD, s.hidden_TF, rows.T, w);
  finish_added(exec, w, rows, added, s.delta_TD);
}

void Block::feed_forward_backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g, const BlockRows& rows,
                                  Data dx_TD, const BlockActivations& a, const BlockScratch& s, bool recomputed) const {
  const std::int64_t T = rows.T;
  const ActivationShape shape{T, sizes_.F, activation_, gated_};
  ops::activation_forward(exec, s.hidden_TF, a.gate_up, shape);
  const Added added = feed_forward_added(a);
  if (added.norm.exists() && recomputed) {  // the norm behind the layer reads what the layer gave
    down_.forward(exec, added.before_TD, s.hidden_TF, T, w);
    added.norm.forward(exec, w, s.delta_TD, {}, added.kept, added.before_TD, {}, T);
  }
  const ConstData dy = added_backward(exec, w, g, rows, added, dx_TD, s.delta_TD);
  down_.weight_gradient(exec, w, g, dy, s.hidden_TF, T);
  down_.input_gradient(exec, s.hidden_TF, dy, T, w);  // hidden is not needed any more: its gradient takes its place
  ops::activation_backward(exec, a.gate_up, s.hidden_TF, a.gate_up, shape);

  if (!recomputed) middle_norm_.forward(exec, w, s.normed_TD, {}, a.kept_middle, a.middle_TD, {}, T);
  gate_up_.weight_gradient(exec, w, g, a.gate_up, s.normed_TD, T);
  gate_up_.input_gradient(exec, s.delta_TD, a.gate_up, T, w);
  norm_backward(exec, w, g, middle_norm_, dx_TD, s.delta_TD, a.middle_TD, a.kept_middle, T);
}

void Block::backward(const Exec& exec, const UnitWeights& w, const UnitGradient& g, const BlockRows& rows,
                     const RopeTables& rope, Data dx_TD, const BlockActivations& a, const BlockScratch& s,
                     bool recomputed) const {
  const std::int64_t T = rows.T;
  feed_forward_backward(exec, w, g, rows, dx_TD, a, s, recomputed);

  const ConstData dy = added_backward(exec, w, g, rows, attention_added(a), dx_TD, s.delta_TD);
  o_.weight_gradient(exec, w, g, dy, a.attention_TQ, T);
  o_.input_gradient(exec, s.dattention_TQ, dy, T, w);
  const std::int64_t k = sizes_.k_at();
  const std::int64_t v = sizes_.v_at();
  ops::attention_backward(exec, s.dqkv, s.dqkv.at(k), s.dqkv.at(v), s.dattention_TQ, a.attention_TQ, a.lse_NT, a.qkv,
                          a.qkv.at(k), a.qkv.at(v), attention_shape(rows));
  rotate(exec, rows, rope, s.dqkv, true);
  head_norms_backward(exec, w, g, T, s.dqkv, a);

  input_norm_.forward(exec, w, s.normed_TD, {}, a.kept_input, a.input_TD, {}, T);
  qkv_.weight_gradient(exec, w, g, s.dqkv, s.normed_TD, T);
  qkv_.input_gradient(exec, s.delta_TD, s.dqkv, T, w);
  norm_backward(exec, w, g, input_norm_, dx_TD, s.delta_TD, a.input_TD, a.kept_input, T);
}

}  // namespace dstrain
