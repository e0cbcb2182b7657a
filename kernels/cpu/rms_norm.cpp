// SPDX-License-Identifier: Apache-2.0
/// RMS normalisation on the CPU: rows over threads, the weight gradient by fixed blocks of rows.
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/row_blocks.hpp"

namespace dstrain::cpu {

namespace {
constexpr IsaTables<RmsNormFunctions> tables = DSTRAIN_ISA_TABLES(rms_norm);
}

std::int64_t rms_norm_workspace_bytes(RmsNormShape s) {
  return blocks_of(s.T) * s.D * static_cast<std::int64_t>(sizeof(float));
}

void rms_norm_forward(const Exec& /*exec*/, Data y_TD, Data s_TD, float* rstd_T, ConstData x_TD, ConstData r_TD,
                      ConstData w_D, float eps, RmsNormShape s) {
  const int storage = storage_index({x_TD.dtype, y_TD.dtype, w_D.dtype}, "rms_norm_forward");
  const bool has_residual = r_TD.data != nullptr;
  if (has_residual) storage_index({x_TD.dtype, r_TD.dtype, s_TD.dtype}, "rms_norm_forward");
  const auto row = s.plus_one ? tables.get().forward_row_plus_one[storage] : tables.get().forward_row[storage];
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
  const auto row = s.plus_one ? tables.get().backward_row_plus_one[storage] : tables.get().backward_row[storage];
  float* partial = dw_D == nullptr ? nullptr : static_cast<float*>(exec.workspace);
  for_row_blocks(s.T, partial, s.D, [&](std::int64_t t, float* dw) {
    const std::int64_t at = t * s.D;
    row(dx_TD.at(at).data, dw, dy_TD.at(at).data, x_TD.at(at).data, w_D.data, rstd_T[t], s.D, add_dx);
  });
  if (dw_D != nullptr) sum_row_blocks(dw_D, partial, s.T, s.D, s.D, add_dw);
}

}  // namespace dstrain::cpu
