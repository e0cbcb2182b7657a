// SPDX-License-Identifier: Apache-2.0
/// With c = magnitude / ||W + s B A|| (1 without DoRA), s = scale, x' = dropout(x):
///
///     y  = x W^T + s x' A^T B^T                                   LoRA
///     y  = c (x W^T + s x A^T B^T)                                DoRA without dropout
///     y  = x W^T + (c - 1) x' W^T + c s x' A^T B^T                DoRA with dropout (as PEFT computes it)
///
/// The norm counts as a constant on the way back (DoRA, section 4.3).
#include "model/adapters/lora.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "kernels/ops/elementwise.hpp"

namespace dstrain {

namespace {

/// h [T,r] = x A^T, into columns of [T,R].
MatmulShape down_shape(std::int64_t T, std::int64_t rank, std::int64_t in, std::int64_t R) {
  return {.M = T, .N = rank, .K = in, .transpose_b = true, .ldc = R};
}
/// [T,out] = h B^T
MatmulShape up_shape(std::int64_t T, std::int64_t rank, std::int64_t out, std::int64_t R, std::int64_t ldc) {
  return {.M = T, .N = out, .K = rank, .transpose_b = true, .lda = R, .ldc = ldc};
}
/// dh [T,r] = dy B
MatmulShape row_gradient_shape(std::int64_t T, std::int64_t rank, std::int64_t out, std::int64_t R, std::int64_t ldy) {
  return {.M = T, .N = rank, .K = out, .lda = ldy, .ldc = R};
}
/// dB [out,r] = dy^T h
MatmulShape b_gradient_shape(std::int64_t T, std::int64_t rank, std::int64_t out, std::int64_t R, std::int64_t ldy) {
  return {.M = out, .N = rank, .K = T, .transpose_a = true, .lda = ldy, .ldb = R};
}
/// dA [r,in] = dh^T x
MatmulShape a_gradient_shape(std::int64_t T, std::int64_t rank, std::int64_t in, std::int64_t R) {
  return {.M = rank, .N = in, .K = T, .transpose_a = true, .lda = R};
}
/// dx [T,in] = dh A
MatmulShape through_shape(std::int64_t T, std::int64_t rank, std::int64_t in, std::int64_t R) {
  return {.M = T, .N = in, .K = rank, .lda = R};
}
/// [T,out] = x W^T of one matrix of a fused layer
MatmulShape base_shape(std::int64_t T, std::int64_t in, const LoraSite& s) {
  return {.M = T, .N = s.out, .K = in, .transpose_b = !s.transposed};
}
/// dx [T,in] = dy W
MatmulShape base_input_shape(std::int64_t T, std::int64_t in, const LoraSite& s, std::int64_t ldy) {
  return {.M = T, .N = in, .K = s.out, .transpose_b = s.transposed, .lda = ldy};
}

Data as_dtype(Data buffer, DType dtype) { return {buffer.data, dtype}; }

/// A function of (seed, slot, adapter, row, column): the same on any rank, and again on the way back.
DropoutMask mask_of(const LoraSite& s, LoraRows rows, const AdapterPass& pass) {
  return {Rng(pass.seed, RngSite::dropout, s.number, pass.sample), s.dropout, rows.first_row};
}

}  // namespace

AdapterPass& pass_of(const UnitWeights& weights) {
  DSTRAIN_CHECK(weights.adapters != nullptr, "a layer with adapters runs without their memory");
  return *weights.adapters;
}

void refresh_factors(const Exec& exec, const LoraSite& s, std::int64_t in, const UnitWeights& weights) {
  AdapterPass& pass = pass_of(weights);
  std::uint64_t& version = pass.versions.at(s.number);
  if (s.magnitude == nullptr || version == weights.version + 1) return;
  version = weights.version + 1;
  float* inverse = pass.inverse_norms + s.column_at;
  float* factor = pass.factors + s.column_at;
  float* shifted = pass.shifted + s.column_at;
  ops::updated_row_norms(exec, inverse, weights.of(*s.weight), weights.of(*s.a), weights.of(*s.b), s.scale, s.out, in,
                         s.rank, s.transposed);
  ops::convert(exec, Data{factor, DType::f32}, weights.of(*s.magnitude), s.out);
  ops::magnitude_factors(exec, inverse, factor, shifted, s.out);
}

std::optional<LoraSite> find_site(const ModelLayout& layout, const TensorLayout& weight, bool lookup) {
  const auto tensor = [&](std::int32_t index) { return &layout.tensors[static_cast<std::size_t>(index)]; };
  LoraSite site;
  for (const AdapterLayout& adapter : layout.adapters) {
    if (adapter.weight != weight.index || adapter.lookup != lookup) {
      if (adapter.magnitude >= 0) site.column_at += adapter.out;
      ++site.number;
      continue;
    }
    site.weight = tensor(adapter.weight);
    site.a = tensor(adapter.a);
    site.b = tensor(adapter.b);
    if (adapter.magnitude >= 0) site.magnitude = tensor(adapter.magnitude);
    site.out = adapter.out;
    site.rank = adapter.rank;
    site.scale = adapter.scale;
    site.dropout = adapter.dropout;
    site.transposed = adapter.transposed;
    return site;
  }
  return std::nullopt;
}

LinearLora::LinearLora(const ModelLayout& layout, const TensorLayout& weight, std::int64_t in, std::int64_t out)
    : in_(in), out_(out) {
  std::int64_t column = 0;
  for (std::int32_t index = weight.index; column < out; ++index) {
    const TensorLayout& part = layout.tensors[static_cast<std::size_t>(index)];
    if (auto site = find_site(layout, part, false)) {
      site->first = column;
      site->rank_at = R_;
      R_ += site->rank;
      dora_ = dora_ || site->magnitude != nullptr;
      sites_.push_back(*site);
    }
    column += part.matrix_out();
  }
  adjacent_ = true;
  for (std::size_t i = 1; i < sites_.size(); ++i) {
    adjacent_ = adjacent_ && sites_[i].a->offset == sites_[i - 1].a->offset + sites_[i - 1].a->count;
  }
}

bool LinearLora::drops(const AdapterPass& pass) const noexcept {
  return pass.training && sites_.front().dropout > 0.0F;
}

bool LinearLora::side_by_side(const AdapterPass& pass) const noexcept { return adjacent_ && !drops(pass); }

/// x, or dropout(x) in the pass's buffer.
ConstData LinearLora::input_of(const Exec& exec, const LoraSite& s, ConstData x, LoraRows rows,
                               const AdapterPass& pass) const {
  if (!drops(pass)) return x;
  ops::dropout(exec, pass.input, x, rows.T, in_, mask_of(s, rows, pass), false);
  return pass.input;
}

/// Each adapter's columns of x [T,R] times its scale.
void LinearLora::scale_rows(const Exec& exec, Data x_TR, std::int64_t T) const {
  const auto equal = [&](const LoraSite& s) { return s.scale == sites_.front().scale; };
  if (std::all_of(sites_.begin(), sites_.end(), equal)) {
    ops::scale(exec, x_TR, sites_.front().scale, T * R_);
    return;
  }
  for (const LoraSite& s : sites_) ops::scale_block(exec, x_TR.at(s.rank_at), s.scale, T, s.rank, R_);
}

void LinearLora::make_rows(const Exec& exec, ConstData x, LoraRows rows, const UnitWeights& weights) const {
  const AdapterPass& pass = pass_of(weights);
  if (side_by_side(pass)) {
    ops::matmul(exec, pass.rows_TR, x, weights.of(*sites_.front().a), down_shape(rows.T, R_, in_, R_), false);
  } else {
    for (const LoraSite& s : sites_) {
      ops::matmul(exec, pass.rows_TR.at(s.rank_at), input_of(exec, s, x, rows, pass), weights.of(*s.a),
                  down_shape(rows.T, s.rank, in_, R_), false);
    }
  }
  scale_rows(exec, pass.rows_TR, rows.T);
}

/// gradients_TR = scale * dy B, all adapters; dy already times c.
void LinearLora::make_row_gradients(const Exec& exec, ConstData dy, std::int64_t T, const UnitWeights& weights) const {
  const AdapterPass& pass = pass_of(weights);
  for (const LoraSite& s : sites_) {
    ops::matmul(exec, pass.gradients_TR.at(s.rank_at), dy.at(s.first), weights.of(*s.b),
                row_gradient_shape(T, s.rank, s.out, R_, out_), false);
  }
  scale_rows(exec, pass.gradients_TR, T);
}

void LinearLora::make_update(const Exec& exec, const LoraSite& s, Data update, std::int64_t T,
                             const UnitWeights& weights) const {
  ops::matmul(exec, update, pass_of(weights).rows_TR.at(s.rank_at), weights.of(*s.b),
              up_shape(T, s.rank, s.out, R_, s.out), false);
}

/// y += rows B^T, without a detour where products can add to y.
void LinearLora::add_update(const Exec& exec, const LoraSite& s, Data y, std::int64_t T,
                            const UnitWeights& weights) const {
  const AdapterPass& pass = pass_of(weights);
  if (y.dtype == DType::f32) {
    ops::matmul(exec, y.at(s.first), pass.rows_TR.at(s.rank_at), weights.of(*s.b), up_shape(T, s.rank, s.out, R_, out_),
                true);
    return;
  }
  const Data update = as_dtype(pass.update, y.dtype);
  make_update(exec, s, update, T, weights);
  ops::add_columns(exec, y.at(s.first), update, T, s.out, out_, s.out);
}

void LinearLora::forward(const Exec& exec, Data y, ConstData x, LoraRows rows, const UnitWeights& weights) const {
  if (!pass_of(weights).active) return;
  if (dora_) refresh_factors(exec, weights);
  make_rows(exec, x, rows, weights);
  for (const LoraSite& s : sites_) {
    if (s.magnitude == nullptr) {
      add_update(exec, s, y, rows.T, weights);
    } else {
      forward_dora(exec, s, y, x, rows, weights);
    }
  }
}

void LinearLora::forward_dora(const Exec& exec, const LoraSite& s, Data y, ConstData x, LoraRows rows,
                              const UnitWeights& weights) const {
  const AdapterPass& pass = pass_of(weights);
  const float* factors = pass.factors + s.column_at;
  if (!drops(pass)) {
    add_update(exec, s, y, rows.T, weights);
    ops::scale_columns(exec, y.at(s.first), factors, rows.T, s.out, out_);
    return;
  }
  const Data update = as_dtype(pass.update, y.dtype);
  ops::matmul(exec, update, input_of(exec, s, x, rows, pass), weights.of(*s.weight), base_shape(rows.T, in_, s), false);
  ops::scale_columns(exec, update, pass.shifted + s.column_at, rows.T, s.out, s.out);
  ops::add_columns(exec, y.at(s.first), update, rows.T, s.out, out_, s.out);
  make_update(exec, s, update, rows.T, weights);
  ops::scale_columns(exec, update, factors, rows.T, s.out, s.out);
  ops::add_columns(exec, y.at(s.first), update, rows.T, s.out, out_, s.out);
}

void LinearLora::weight_gradient(const Exec& exec, const UnitWeights& weights, const UnitGradient& gradient,
                                 ConstData dy, ConstData x, LoraRows rows) const {
  const AdapterPass& pass = pass_of(weights);
  DSTRAIN_CHECK(pass.active, "gradients of adapters that are switched off");
  make_rows(exec, x, rows, weights);
  const ConstData factored = scaled_dy(exec, dy, rows.T, weights);
  make_row_gradients(exec, factored, rows.T, weights);
  for (const LoraSite& s : sites_) {
    ops::matmul(exec, Data{gradient.of(*s.b), DType::f32}, factored.at(s.first), pass.rows_TR.at(s.rank_at),
                b_gradient_shape(rows.T, s.rank, s.out, R_, out_), gradient.accumulate);
    if (s.magnitude != nullptr) magnitude_gradient(exec, s, weights, gradient, dy, x, rows);
  }
  a_gradients(exec, weights, gradient, x, rows);
}

void LinearLora::a_gradients(const Exec& exec, const UnitWeights& weights, const UnitGradient& gradient, ConstData x,
                             LoraRows rows) const {
  const AdapterPass& pass = pass_of(weights);
  if (side_by_side(pass)) {
    ops::matmul(exec, Data{gradient.of(*sites_.front().a), DType::f32}, pass.gradients_TR, x,
                a_gradient_shape(rows.T, R_, in_, R_), gradient.accumulate);
    return;
  }
  for (const LoraSite& s : sites_) {
    ops::matmul(exec, Data{gradient.of(*s.a), DType::f32}, pass.gradients_TR.at(s.rank_at),
                input_of(exec, s, x, rows, pass), a_gradient_shape(rows.T, s.rank, in_, R_), gradient.accumulate);
  }
}

/// d(magnitude) = sum_t dy * (x' W^T + s x' A^T B^T) / norm, in two sums so that neither product is rounded away.
void LinearLora::magnitude_gradient(const Exec& exec, const LoraSite& s, const UnitWeights& weights,
                                    const UnitGradient& gradient, ConstData dy, ConstData x, LoraRows rows) const {
  const AdapterPass& pass = pass_of(weights);
  const Data update = as_dtype(pass.update, dy.dtype);
  float* out = gradient.of(*s.magnitude);
  const float* factor = pass.inverse_norms + s.column_at;
  ops::matmul(exec, update, input_of(exec, s, x, rows, pass), weights.of(*s.weight), base_shape(rows.T, in_, s), false);
  ops::column_dots(exec, out, dy.at(s.first), update, factor, rows.T, s.out, out_, s.out, gradient.accumulate);
  make_update(exec, s, update, rows.T, weights);
  ops::column_dots(exec, out, dy.at(s.first), update, factor, rows.T, s.out, out_, s.out, true);
}

ConstData LinearLora::base_dy(const Exec& exec, ConstData dy, std::int64_t T, const UnitWeights& weights) const {
  const AdapterPass& pass = pass_of(weights);
  if (!pass.active || drops(pass)) return dy;
  return scaled_dy(exec, dy, T, weights);
}

void LinearLora::add_input_gradient(const Exec& exec, Data dx, ConstData dy, LoraRows rows,
                                    const UnitWeights& weights) const {
  const AdapterPass& pass = pass_of(weights);
  if (!pass.active) return;
  make_row_gradients(exec, scaled_dy(exec, dy, rows.T, weights), rows.T, weights);
  if (side_by_side(pass)) {
    add_through(exec, sites_.front(), R_, dx, rows, weights);
    return;
  }
  for (const LoraSite& s : sites_) {
    add_through(exec, s, s.rank, dx, rows, weights);
    if (drops(pass) && s.magnitude != nullptr) add_dropped_dora(exec, s, dx, dy, rows, weights);
  }
}

/// dx += mask of (dh A): `rank` columns from the first adapter's on.
void LinearLora::add_through(const Exec& exec, const LoraSite& s, std::int64_t rank, Data dx, LoraRows rows,
                             const UnitWeights& weights) const {
  const AdapterPass& pass = pass_of(weights);
  const MatmulShape shape = through_shape(rows.T, rank, in_, R_);
  const ConstData dh = pass.gradients_TR.at(s.rank_at);
  if (dx.dtype == DType::f32 && !drops(pass)) {
    ops::matmul(exec, dx, dh, weights.of(*s.a), shape, true);
    return;
  }
  const Data update = as_dtype(pass.update, dx.dtype);
  ops::matmul(exec, update, dh, weights.of(*s.a), shape, false);
  if (drops(pass)) {
    ops::dropout(exec, dx, update, rows.T, in_, mask_of(s, rows, pass), true);
  } else {
    ops::add_columns(exec, dx, update, rows.T, in_, in_, in_);
  }
}

/// dx += mask of (((c - 1) dy) W): the second look of DoRA with dropout at the base matrix.
void LinearLora::add_dropped_dora(const Exec& exec, const LoraSite& s, Data dx, ConstData dy, LoraRows rows,
                                  const UnitWeights& weights) const {
  const AdapterPass& pass = pass_of(weights);
  ops::convert(exec, pass.scaled, dy, rows.T * out_);
  ops::scale_columns(exec, pass.scaled.at(s.first), pass.shifted + s.column_at, rows.T, s.out, out_);
  const Data update = as_dtype(pass.update, dx.dtype);
  ops::matmul(exec, update, pass.scaled.at(s.first), weights.of(*s.weight), base_input_shape(rows.T, in_, s, out_),
              false);
  ops::dropout(exec, dx, update, rows.T, in_, mask_of(s, rows, pass), true);
}

/// dy with the columns of DoRA's adapters times c; dy itself where there are none.
ConstData LinearLora::scaled_dy(const Exec& exec, ConstData dy, std::int64_t T, const UnitWeights& weights) const {
  if (!dora_) return dy;
  const AdapterPass& pass = pass_of(weights);
  refresh_factors(exec, weights);
  ops::convert(exec, pass.scaled, dy, T * out_);
  for (const LoraSite& s : sites_) {
    if (s.magnitude != nullptr)
      ops::scale_columns(exec, pass.scaled.at(s.first), pass.factors + s.column_at, T, s.out, out_);
  }
  return pass.scaled;
}

void LinearLora::refresh_factors(const Exec& exec, const UnitWeights& weights) const {
  for (const LoraSite& s : sites_) dstrain::refresh_factors(exec, s, in_, weights);
}

void LinearLora::measure(AdapterSizes& sizes, bool narrow) const {
  if (empty()) return;
  sizes.rows = std::max(sizes.rows, R_);
  for (const LoraSite& s : sites_) {
    const bool dropped = s.dropout > 0.0F;
    ++sizes.adapters;
    if (dropped) sizes.input = std::max(sizes.input, in_);
    if (dropped || narrow) sizes.update = std::max(sizes.update, in_);
    if (s.magnitude != nullptr || narrow) sizes.update = std::max(sizes.update, s.out);
    if (s.magnitude == nullptr) continue;
    sizes.scaled = std::max(sizes.scaled, out_);
    sizes.columns += s.out;
  }
}

void LinearLora::products(std::vector<AdapterProduct>& list, std::int64_t T, bool f32_output, bool train) const {
  for (const bool together : {true, false}) {
    if (empty() || (together && !adjacent_)) continue;
    for (std::size_t i = 0; i < (together ? 1 : sites_.size()); ++i) {
      const std::int64_t rank = together ? R_ : sites_[i].rank;
      list.push_back({down_shape(T, rank, in_, R_), false, false});
      if (!train) continue;
      list.push_back({through_shape(T, rank, in_, R_), false, false});
      for (const bool accumulate : {false, true})
        list.push_back({a_gradient_shape(T, rank, in_, R_), true, accumulate});
    }
  }
  for (const LoraSite& s : sites_) {
    list.push_back({up_shape(T, s.rank, s.out, R_, s.out), f32_output, false});
    list.push_back({up_shape(T, s.rank, s.out, R_, out_), true, true});  // f32 is added to in place
    if (!train) continue;
    list.push_back({row_gradient_shape(T, s.rank, s.out, R_, out_), false, false});
    for (const bool accumulate : {false, true})
      list.push_back({b_gradient_shape(T, s.rank, s.out, R_, out_), true, accumulate});
    if (s.magnitude == nullptr) continue;
    list.push_back({base_shape(T, in_, s), f32_output, false});
    list.push_back({base_input_shape(T, in_, s, out_), false, false});
  }
}

}  // namespace dstrain
