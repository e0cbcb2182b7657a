// SPDX-License-Identifier: Apache-2.0
/// With c = magnitude / ||W + s B A|| (1 without DoRA), s = scale, x' = dropout(x):
///
///     y  = x W^T + s x' A^T B^T                                   LoRA
///     y  = c (x W^T + s x A^T B^T)                                DoRA without dropout
///     y  = x W^T + (c - 1) x' W^T + c s x' A^T B^T                DoRA with dropout (as PEFT computes it)
#include "model/adapters/lora.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "kernels/ops/elementwise.hpp"
#include "model/adapters/lora_parts.hpp"

namespace dstrain {

AdapterPass& pass_of(const UnitWeights& weights) {
  DSTRAIN_CHECK(weights.adapters != nullptr, "a layer with adapters runs without their memory");
  return *weights.adapters;
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

}  // namespace dstrain
