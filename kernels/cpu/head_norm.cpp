// SPDX-License-Identifier: Apache-2.0
/// Normalisation of heads on the CPU: the rows of rms_norm, one per head.
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/row_blocks.hpp"

namespace dstrain::cpu {

namespace {
constexpr IsaTables<RmsNormFunctions> tables = DSTRAIN_ISA_TABLES(rms_norm);
}

std::int64_t head_norm_workspace_bytes(HeadNormShape s) {
  return blocks_of(s.T) * s.head_dim * static_cast<std::int64_t>(sizeof(float));
}

void head_norm_forward(const Exec& /*exec*/, Data x, Data kept, float* rstd, ConstData w_H, float eps,
                       HeadNormShape s) {
  const int storage = storage_index({x.dtype, w_H.dtype}, "head_norm_forward");
  const auto row = s.plus_one ? tables.get().forward_row_plus_one[storage] : tables.get().forward_row[storage];
  const std::int64_t width = s.heads * s.head_dim;
  parallel_for(s.T, rows_grain(width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const Data heads = x.at(t * s.stride);
      if (kept.data != nullptr) {
        std::memcpy(kept.at(t * s.kept_stride).data, heads.data, static_cast<std::size_t>(width) * size_of(x.dtype));
      }
      for (std::int64_t n = 0; n < s.heads; ++n) {
        void* head = heads.at(n * s.head_dim).data;
        rstd[t * s.rstd_stride + n] = row(head, nullptr, head, nullptr, w_H.data, eps, s.head_dim);
      }
    }
  });
}

void head_norm_backward(const Exec& exec, Data dx, float* dw_H, ConstData kept, const float* rstd, ConstData w_H,
                        HeadNormShape s, bool add_dw) {
  const int storage = storage_index({dx.dtype, kept.dtype, w_H.dtype}, "head_norm_backward");
  if (dw_H != nullptr && exec.workspace_bytes < head_norm_workspace_bytes(s)) {
    throw ShapeError(fmt::format("head_norm_backward needs {} bytes of workspace and got {}",
                                 head_norm_workspace_bytes(s), exec.workspace_bytes));
  }
  const auto row = s.plus_one ? tables.get().backward_row_plus_one[storage] : tables.get().backward_row[storage];
  float* partial = dw_H == nullptr ? nullptr : static_cast<float*>(exec.workspace);
  for_row_blocks(s.T, partial, s.head_dim, [&](std::int64_t t, float* sums) {
    for (std::int64_t n = 0; n < s.heads; ++n) {
      void* head = dx.at(t * s.stride + n * s.head_dim).data;
      row(head, sums, head, kept.at(t * s.kept_stride + n * s.head_dim).data, w_H.data, rstd[t * s.rstd_stride + n],
          s.head_dim, false);
    }
  });
  if (dw_H != nullptr) sum_row_blocks(dw_H, partial, s.T, s.head_dim, s.head_dim, add_dw);
}

}  // namespace dstrain::cpu
