// SPDX-License-Identifier: Apache-2.0
/// The embedding as plain loops: the definition that the backends are tested against.
#pragma once

#include "kernels/ops/elementwise.hpp"

namespace dstrain::reference {

/// y[t,:] = table[ids[t],:]. Local.
template <typename Real>
void embedding_forward(Real* y_TD, const Real* table_VD, const std::int32_t* ids_T, std::int64_t T, std::int64_t D) {
  for (std::int64_t t = 0; t < T; ++t) {
    for (std::int64_t d = 0; d < D; ++d) y_TD[t * D + d] = table_VD[ids_T[t] * D + d];
  }
}

/// dtable[ids[t],:] += dy[t,:], t ascending; dtable is zeroed first unless `accumulate`. Local.
template <typename Real>
void embedding_backward(Real* dtable_VD, const Real* dy_TD, const std::int32_t* ids_T, std::int64_t T, std::int64_t D,
                        std::int64_t V, bool accumulate) {
  for (std::int64_t i = 0; !accumulate && i < V * D; ++i) dtable_VD[i] = 0;
  for (std::int64_t t = 0; t < T; ++t) {
    for (std::int64_t d = 0; d < D; ++d) dtable_VD[ids_T[t] * D + d] += dy_TD[t * D + d];
  }
}

}  // namespace dstrain::reference
