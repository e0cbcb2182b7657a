// SPDX-License-Identifier: Apache-2.0
/// The head with rows of length one, and soft caps, on the CPU: rows over threads.
#include <cmath>

#include "core/parallel.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/simd/functions.hpp"

namespace dstrain::cpu {

namespace {
constexpr IsaTables<RowNormFunctions> tables = DSTRAIN_ISA_TABLES(row_norm);
constexpr float smallest_norm = 1e-12F;  // F.normalize's eps
}  // namespace

void inverse_row_norms(const Exec& /*exec*/, float* r_V, ConstData w_VD, std::int64_t V, std::int64_t D) {
  const auto squares = tables.get().sum_of_squares[storage_index(w_VD.dtype, "inverse_row_norms")];
  parallel_for(V, rows_grain(D), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t v = begin; v < end; ++v)
      r_V[v] = 1.0F / std::fmax(std::sqrt(squares(w_VD.at(v * D).data, D)), smallest_norm);
  });
}

void scale_columns(const Exec& /*exec*/, Data x_TV, const float* factor_V, std::int64_t T, std::int64_t V) {
  const auto multiply = tables.get().multiply[storage_index(x_TV.dtype, "scale_columns")];
  parallel_for(T, rows_grain(V), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) multiply(x_TV.at(t * V).data, factor_V, V);
  });
}

void remove_row_component(const Exec& /*exec*/, float* dw_VD, ConstData w_VD, const float* r_V, std::int64_t V,
                          std::int64_t D) {
  const auto remove = tables.get().remove_component[storage_index(w_VD.dtype, "remove_row_component")];
  parallel_for(V, rows_grain(D), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t v = begin; v < end; ++v) remove(dw_VD + v * D, w_VD.at(v * D).data, r_V[v] * r_V[v], D);
  });
}

void softcap(const Exec& /*exec*/, float* x, float cap, std::int64_t count) {
  const auto run = tables.get().softcap;
  parallel_for(count, elements_per_thread,
               [&](std::int64_t begin, std::int64_t end) { run(x + begin, cap, end - begin); });
}

}  // namespace dstrain::cpu
