// SPDX-License-Identifier: Apache-2.0
/// DoRA's part of the adapters (lora.cpp has the formulas). The norm counts as a constant on the way back (DoRA,
/// section 4.3).
#include "kernels/ops/elementwise.hpp"
#include "model/adapters/lora.hpp"
#include "model/adapters/lora_parts.hpp"

namespace dstrain {

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

void LinearLora::refresh_factors(const Exec& exec, const UnitWeights& weights) const {
  for (const LoraSite& s : sites_) dstrain::refresh_factors(exec, s, in_, weights);
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

ConstData LinearLora::base_dy(const Exec& exec, ConstData dy, std::int64_t T, const UnitWeights& weights) const {
  const AdapterPass& pass = pass_of(weights);
  if (!pass.active || drops(pass)) return dy;
  return scaled_dy(exec, dy, T, weights);
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

}  // namespace dstrain
