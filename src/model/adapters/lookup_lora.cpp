// SPDX-License-Identifier: Apache-2.0
/// A look-up is the product of one-hot rows and the table, stored [in, out]; the product with A is then a gather of its
/// columns. T rows, D the width of the table, r the rank.
#include "model/adapters/lookup_lora.hpp"

#include <algorithm>

#include "kernels/ops/adapter.hpp"
#include "kernels/ops/elementwise.hpp"

namespace dstrain {

namespace {

/// [T,D] = rows B^T
MatmulShape up_shape(std::int64_t T, const LoraSite& s) {
  return {.M = T, .N = s.out, .K = s.rank, .transpose_b = true};
}
/// d(rows) [T,r] = dy B
MatmulShape row_gradient_shape(std::int64_t T, const LoraSite& s) { return {.M = T, .N = s.rank, .K = s.out}; }
/// dB [D,r] = dy^T rows
MatmulShape b_gradient_shape(std::int64_t T, const LoraSite& s) {
  return {.M = s.out, .N = s.rank, .K = T, .transpose_a = true};
}

}  // namespace

LookupLora::LookupLora(const ModelLayout& layout, const TensorLayout& table)
    : V_(table.shape[0]), D_(table.shape[1]), site_(find_site(layout, table, true)) {}

/// rows = s A[:, ids]^T
void LookupLora::make_rows(const Exec& exec, const std::int32_t* ids_T, std::int64_t T,
                           const UnitWeights& weights) const {
  const Data rows = pass_of(weights).rows_TR;
  ops::gather_columns(exec, rows, weights.of(*site_->a), ids_T, T, site_->rank, V_);
  ops::scale(exec, rows, site_->scale, T * site_->rank);
}

void LookupLora::make_update(const Exec& exec, Data update, std::int64_t T, const UnitWeights& weights) const {
  ops::matmul(exec, update, pass_of(weights).rows_TR, weights.of(*site_->b), up_shape(T, *site_), false);
}

void LookupLora::forward(const Exec& exec, Data y_TD, const std::int32_t* ids_T, std::int64_t T,
                         const UnitWeights& weights) const {
  if (empty() || !pass_of(weights).active) return;
  const AdapterPass& pass = pass_of(weights);
  make_rows(exec, ids_T, T, weights);
  const Data update{pass.update.data, y_TD.dtype};
  make_update(exec, update, T, weights);
  ops::add(exec, y_TD, update, T * D_);
  if (site_->magnitude == nullptr) return;
  refresh_factors(exec, *site_, V_, weights);
  ops::scale_columns(exec, y_TD, pass.factors + site_->column_at, T, D_, D_);
}

ConstData LookupLora::scaled_dy(const Exec& exec, ConstData dy, std::int64_t T, const UnitWeights& weights) const {
  if (site_->magnitude == nullptr) return dy;
  const AdapterPass& pass = pass_of(weights);
  ops::convert(exec, pass.scaled, dy, T * D_);
  ops::scale_columns(exec, pass.scaled, pass.factors + site_->column_at, T, D_, D_);
  return pass.scaled;
}

/// d(magnitude) = sum_t dy * (W[ids] + rows B^T) / norm
void LookupLora::magnitude_gradient(const Exec& exec, const UnitWeights& weights, const UnitGradient& gradient,
                                    ConstData dy, const std::int32_t* ids_T, std::int64_t T) const {
  const AdapterPass& pass = pass_of(weights);
  const Data update{pass.update.data, dy.dtype};
  const float* factor = pass.inverse_norms + site_->column_at;
  float* out = gradient.of(*site_->magnitude);
  ops::embedding_forward(exec, update, weights.of(*site_->weight), ids_T, T, D_);
  ops::column_dots(exec, out, dy, update, factor, T, D_, D_, D_, gradient.accumulate);
  make_update(exec, update, T, weights);
  ops::column_dots(exec, out, dy, update, factor, T, D_, D_, D_, true);
}

void LookupLora::backward(const Exec& exec, const UnitWeights& weights, const UnitGradient& gradient, ConstData dy_TD,
                          const std::int32_t* ids_T, std::int64_t T, std::int64_t tokens) const {
  if (empty()) return;
  const LoraSite& s = *site_;
  const AdapterPass& pass = pass_of(weights);
  refresh_factors(exec, s, V_, weights);
  make_rows(exec, ids_T, T, weights);
  const ConstData factored = scaled_dy(exec, dy_TD, T, weights);
  ops::matmul(exec, Data{gradient.of(*s.b), DType::f32}, factored, pass.rows_TR, b_gradient_shape(T, s),
              gradient.accumulate);
  ops::matmul(exec, pass.gradients_TR, factored, weights.of(*s.b), row_gradient_shape(T, s), false);
  ops::scale(exec, pass.gradients_TR, s.scale, T * s.rank);
  ops::gather_columns_backward(exec, gradient.of(*s.a), pass.gradients_TR, ids_T, tokens, s.rank, V_,
                               gradient.accumulate);
  if (s.magnitude != nullptr) magnitude_gradient(exec, weights, gradient, dy_TD, ids_T, T);
}

void LookupLora::clear_gradient(const Exec& exec, const UnitGradient& gradient) const {
  if (empty()) return;
  for (const TensorLayout* tensor : {site_->a, site_->b, site_->magnitude}) {
    if (tensor != nullptr) ops::fill_zero(exec, {gradient.of(*tensor), DType::f32}, tensor->count);
  }
}

void LookupLora::measure(AdapterSizes& sizes) const {
  if (empty()) return;
  ++sizes.adapters;
  sizes.rows = std::max(sizes.rows, site_->rank);
  sizes.update = std::max(sizes.update, D_);
  if (site_->magnitude == nullptr) return;
  sizes.scaled = std::max(sizes.scaled, D_);
  sizes.columns += D_;
}

void LookupLora::products(std::vector<AdapterProduct>& list, std::int64_t T, bool train) const {
  if (empty()) return;
  list.push_back({up_shape(T, *site_), false, false});
  if (!train) return;
  list.push_back({row_gradient_shape(T, *site_), false, false});
  for (const bool accumulate : {false, true}) list.push_back({b_gradient_shape(T, *site_), true, accumulate});
}

}  // namespace dstrain
