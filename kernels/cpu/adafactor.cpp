// SPDX-License-Identifier: Apache-2.0
/// Adafactor's sums and updates on the CPU: rows, or strips of columns, over threads.
#include "kernels/ops/adafactor.hpp"

#include <algorithm>
#include <vector>

#include "core/parallel.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/optimizer_scalars.hpp"

namespace dstrain::cpu {

namespace {

constexpr IsaTables<AdafactorFunctions> tables = DSTRAIN_ISA_TABLES(adafactor);

/// Sums of runs of this many elements or rows are made by one thread, and added up in their order.
constexpr std::int64_t run_length = 16384;
constexpr std::int64_t column_strip = 64;  ///< of doubles: eight cache lines
constexpr std::int64_t most_runs = 256;

/// The part of row `row` that lies in the slice: its first column, and its elements.
struct RowPart {
  std::int64_t column;
  std::int64_t count;
  std::int64_t at;  ///< in the slice
};

RowPart part_of(const MatrixSlice& s, std::int64_t row) {
  const std::int64_t begin = std::max(s.begin, row * s.columns);
  const std::int64_t end = std::min(s.begin + s.count, (row + 1) * s.columns);
  return {begin - row * s.columns, end - begin, begin - s.begin};
}

/// Adds partial(begin, end) over [0, n) in runs of `length` or longer: the same bits for any number of threads.
template <typename Partial>
double sum_in_runs(std::int64_t n, std::int64_t length, const Partial& partial) {
  double sums[most_runs] = {};
  const std::int64_t run = std::max(length, (n + most_runs - 1) / most_runs);
  const std::int64_t runs = (n + run - 1) / run;
  parallel_for(runs, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) sums[r] = partial(r * run, std::min(n, (r + 1) * run));
  });
  double total = 0.0;
  for (std::int64_t r = 0; r < runs; ++r) total += sums[r];
  return total;
}

}  // namespace

void factored_sums(const Exec& /*exec*/, double* rows, double* columns, const float* gradient, const MatrixSlice& s,
                   double scale, double eps) {
  if (s.count == 0) return;
  const auto& f = tables.get();
  const auto scale_f = static_cast<float>(scale);
  const auto eps_f = static_cast<float>(eps);
  const std::int64_t first = s.begin / s.columns;
  const std::int64_t last = (s.begin + s.count - 1) / s.columns;
  parallel_for(last + 1 - first, rows_grain(s.columns), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = first + begin; r < first + end; ++r) {
      const RowPart part = part_of(s, r);
      rows[r] += f.row_sum(gradient + part.at, part.count, scale_f, eps_f);
    }
  });
  const std::int64_t strips = (s.columns + column_strip - 1) / column_strip;
  parallel_for(strips, std::max<std::int64_t>(1, run_length / (column_strip * (last + 1 - first))),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t r = first; r <= last; ++r) {
                   const RowPart part = part_of(s, r);
                   const std::int64_t from = std::max(begin * column_strip, part.column);
                   const std::int64_t to = std::min(end * column_strip, part.column + part.count);
                   if (from < to)
                     f.add_squares(columns + from, gradient + part.at + (from - part.column), to - from, scale_f,
                                   eps_f);
                 }
               });
}

double factored_update(const Exec& /*exec*/, float* update, const float* gradient, const float* row_factor,
                       const float* column_factor, const MatrixSlice& s, double scale) {
  if (s.count == 0) return 0.0;
  const auto& f = tables.get();
  const std::int64_t first = s.begin / s.columns;
  const std::int64_t rows = (s.begin + s.count - 1) / s.columns + 1 - first;
  return sum_in_runs(rows, rows_grain(s.columns), [&](std::int64_t begin, std::int64_t end) {
    double sum = 0.0;
    for (std::int64_t r = first + begin; r < first + end; ++r) {
      const RowPart part = part_of(s, r);
      sum += f.scale_row(update + part.at, gradient + part.at, column_factor + part.column, row_factor[r], part.count,
                         static_cast<float>(scale));
    }
    return sum;
  });
}

double unfactored_update(const Exec& /*exec*/, float* update, float* exp_avg_sq, const float* gradient,
                         std::int64_t count, double beta2t, double scale, double eps) {
  const auto& f = tables.get();
  return sum_in_runs(count, run_length, [&](std::int64_t begin, std::int64_t end) {
    return f.unfactored(update + begin, exp_avg_sq + begin, gradient + begin, end - begin, static_cast<float>(beta2t),
                        static_cast<float>(1.0 - beta2t), static_cast<float>(scale), static_cast<float>(eps));
  });
}

void apply_update(const Exec& /*exec*/, float* master, float* exp_avg, const float* update, Data compute_copy,
                  std::int64_t count, double factor, double beta1, double decay) {
  (void)compute_copy_at(compute_copy, 0);
  const auto& f = tables.get();
  parallel_for(count, elements_per_thread, [&](std::int64_t begin, std::int64_t end) {
    f.apply(master + begin, exp_avg == nullptr ? nullptr : exp_avg + begin, update + begin,
            compute_copy_at(compute_copy, begin), end - begin, static_cast<float>(factor), static_cast<float>(beta1),
            static_cast<float>(1.0 - beta1), static_cast<float>(-decay));
  });
}

}  // namespace dstrain::cpu
