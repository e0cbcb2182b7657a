// SPDX-License-Identifier: Apache-2.0
/// The parts of Adafactor's update of a matrix that is cut into flat slices: sums that ranks add up, then the update
/// of each slice. Shazeer and Stern, arXiv:1804.04235; transformers.optimization.Adafactor.
#pragma once

#include "kernels/ops/common.hpp"

namespace dstrain {

/// Elements [begin, begin + count) of a row-major matrix with `columns` columns.
struct MatrixSlice {
  std::int64_t columns = 0;
  std::int64_t begin = 0;
  std::int64_t count = 0;
};

namespace ops {
/// rows[r] += sum over the slice's part of row r, columns[c] += sum over its part of column c, of (g * scale)^2 + eps
/// in f64. Local. @param rows, columns  of the whole matrix
void factored_sums(const Exec& exec, double* rows, double* columns, const float* gradient, const MatrixSlice& slice,
                   double scale, double eps);

/// update[i] = g * scale * row_factor[r] * column_factor[c] over the slice; returns the sum of its squares in f64.
/// Local; `update` may be `gradient`.
double factored_update(const Exec& exec, float* update, const float* gradient, const float* row_factor,
                       const float* column_factor, const MatrixSlice& slice, double scale);

/// exp_avg_sq = b2t * exp_avg_sq + (1 - b2t) ((g * scale)^2 + eps);  update = g * scale / sqrt(exp_avg_sq); returns the
/// sum of the update's squares in f64. For what is no matrix. Local; `update` may be `gradient`.
double unfactored_update(const Exec& exec, float* update, float* exp_avg_sq, const float* gradient, std::int64_t count,
                         double beta2t, double scale, double eps);

/// u = update * factor; with exp_avg: exp_avg = b1 * exp_avg + (1 - b1) u, u = exp_avg;  p -= decay * p;  p -= u.
/// Local. @param exp_avg  may be null
void apply_update(const Exec& exec, float* master, float* exp_avg, const float* update, Data compute_copy,
                  std::int64_t count, double factor, double beta1, double decay);
}  // namespace ops

}  // namespace dstrain
