// SPDX-License-Identifier: Apache-2.0
/// RMS normalisation on the CPU: rows over threads, the weight gradient by fixed blocks of rows.
#include <cstring>

#include "core/parallel.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/simd/functions.hpp"

namespace dstrain::cpu {

namespace {

constexpr IsaTables<RmsNormFunctions> tables = DSTRAIN_ISA_TABLES(rms_norm);
constexpr IsaTables<BiasFunctions> column_sums = DSTRAIN_ISA_TABLES(bias);

/// Rows whose dw is summed by one thread into one row of the workspace. A function of T alone.
std::int64_t rows_per_block(std::int64_t T) {
  const std::int64_t rows = (T + 63) / 64;
  return rows < 16 ? 16 : rows;
}

std::int64_t blocks_of(std::int64_t T) { return (T + rows_per_block(T) - 1) / rows_per_block(T); }

}  // namespace

std::int64_t rms_norm_workspace_bytes(RmsNormShape s) {
  return blocks_of(s.T) * s.D * static_cast<std::int64_t>(sizeof(float));
}

void rms_norm_forward(const Exec& /*exec*/, Data y_TD, Data s_TD, float* rstd_T, ConstData x_TD, ConstData r_TD,
                      ConstData w_D, float eps, RmsNormShape s) {
  const int storage = storage_index({x_TD.dtype, y_TD.dtype, w_D.dtype}, "rms_norm_forward");
  const bool has_residual = r_TD.data != nullptr;
  if (has_residual) storage_index({x_TD.dtype, r_TD.dtype, s_TD.dtype}, "rms_norm_forward");
  const auto row = tables.get().forward_row[storage];
  parallel_for(s.T, rows_grain(s.D), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int64_t at = t * s.D;
      rstd_T[t] = row(y_TD.at(at).data, has_residual ? s_TD.at(at).data : nullptr, x_TD.at(at).data,
                      has_residual ? r_TD.at(at).data : nullptr, w_D.data, eps, s.D);
    }
  });
}

void rms_norm_backward(const Exec& exec, Data dx_TD, float* dw_D, ConstData dy_TD, ConstData x_TD, ConstData w_D,
                       const float* rstd_T, RmsNormShape s, bool add_dx, bool add_dw) {
  const int storage = storage_index({dy_TD.dtype, dx_TD.dtype, x_TD.dtype, w_D.dtype}, "rms_norm_backward");
  if (dw_D != nullptr && exec.workspace_bytes < rms_norm_workspace_bytes(s)) {
    throw ShapeError(fmt::format("rms_norm_backward needs {} bytes of workspace and got {}",
                                 rms_norm_workspace_bytes(s), exec.workspace_bytes));
  }
  const auto row = tables.get().backward_row[storage];
  auto* partial_BD = static_cast<float*>(exec.workspace);
  const std::int64_t rows = rows_per_block(s.T);
  parallel_for(blocks_of(s.T), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      float* dw = dw_D == nullptr ? nullptr : partial_BD + b * s.D;
      if (dw != nullptr) std::memset(dw, 0, static_cast<std::size_t>(s.D) * sizeof(float));
      const std::int64_t stop = (b + 1) * rows < s.T ? (b + 1) * rows : s.T;
      for (std::int64_t t = b * rows; t < stop; ++t) {
        const std::int64_t at = t * s.D;
        row(dx_TD.at(at).data, dw, dy_TD.at(at).data, x_TD.at(at).data, w_D.data, rstd_T[t], s.D, add_dx);
      }
    }
  });
  if (dw_D == nullptr) return;
  const auto sum_columns = column_sums.get().backward_columns[0];
  parallel_for(s.D, rows_grain(blocks_of(s.T)), [&](std::int64_t begin, std::int64_t end) {
    sum_columns(dw_D, partial_BD, blocks_of(s.T), begin, end, s.D, add_dw);
  });
}

}  // namespace dstrain::cpu
