// SPDX-License-Identifier: Apache-2.0
/// Layer normalisation on the CPU: rows over threads, the weight gradients by fixed blocks of rows.
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/row_blocks.hpp"

namespace dstrain::cpu {

namespace {
constexpr IsaTables<LayerNormFunctions> tables = DSTRAIN_ISA_TABLES(layer_norm);
}

std::int64_t layer_norm_workspace_bytes(LayerNormShape s) {
  return blocks_of(s.T) * 2 * s.D * static_cast<std::int64_t>(sizeof(float));
}

void layer_norm_forward(const Exec& /*exec*/, Data y_TD, Data s_TD, LayerNormStatistics kept, ConstData x_TD,
                        ConstData r_TD, ConstData w_D, ConstData b_D, float eps, LayerNormShape s) {
  const int storage = storage_index({x_TD.dtype, y_TD.dtype, w_D.dtype}, "layer_norm_forward");
  const bool has_residual = r_TD.data != nullptr;
  if (has_residual) storage_index({x_TD.dtype, r_TD.dtype, s_TD.dtype}, "layer_norm_forward");
  if (b_D.data != nullptr) storage_index({x_TD.dtype, b_D.dtype}, "layer_norm_forward");
  const auto row = tables.get().forward_row[storage];
  parallel_for(s.T, rows_grain(s.D), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int64_t at = t * s.D;
      const auto [mean, rstd] = row(y_TD.at(at).data, has_residual ? s_TD.at(at).data : nullptr, x_TD.at(at).data,
                                    has_residual ? r_TD.at(at).data : nullptr, w_D.data, b_D.data, eps, s.D);
      kept.mean_T[t] = mean;
      kept.rstd_T[t] = rstd;
    }
  });
}

void layer_norm_backward(const Exec& exec, Data dx_TD, LayerNormGradients gradients, ConstData dy_TD, ConstData x_TD,
                         ConstData w_D, LayerNormStatistics kept, LayerNormShape s, bool add_dx, bool add_dw) {
  const int storage = storage_index({dy_TD.dtype, dx_TD.dtype, x_TD.dtype, w_D.dtype}, "layer_norm_backward");
  const bool sums_wanted = gradients.dw_D != nullptr || gradients.db_D != nullptr;
  if (sums_wanted && exec.workspace_bytes < layer_norm_workspace_bytes(s)) {
    throw ShapeError(fmt::format("layer_norm_backward needs {} bytes of workspace and got {}",
                                 layer_norm_workspace_bytes(s), exec.workspace_bytes));
  }
  const auto row = tables.get().backward_row[storage];
  float* partial = sums_wanted ? static_cast<float*>(exec.workspace) : nullptr;
  for_row_blocks(s.T, partial, 2 * s.D, [&](std::int64_t t, float* sums) {
    const std::int64_t at = t * s.D;
    row(dx_TD.at(at).data, sums, sums == nullptr ? nullptr : sums + s.D, dy_TD.at(at).data, x_TD.at(at).data, w_D.data,
        {kept.mean_T[t], kept.rstd_T[t]}, s.D, add_dx);
  });
  if (gradients.dw_D != nullptr) sum_row_blocks(gradients.dw_D, partial, s.T, s.D, 2 * s.D, add_dw);
  if (gradients.db_D != nullptr) sum_row_blocks(gradients.db_D, partial + s.D, s.T, s.D, 2 * s.D, add_dw);
}

}  // namespace dstrain::cpu
