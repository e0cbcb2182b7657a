// SPDX-License-Identifier: Apache-2.0
/// SwiGLU and embedding as plain loops: the definition that the backends are tested against.
#pragma once

#include <cmath>

#include "kernels/ops/elementwise.hpp"

namespace dstrain::reference {

/// h[t,f] = silu(gate[t,f]) * up[t,f] with silu(x) = x / (1 + e^-x); gate_up is [T, 2F], gate first. Shazeer,
/// arXiv:2002.05202. Local.
template <typename Real>
void swiglu_forward(Real* h_TF, const Real* gate_up, std::int64_t T, std::int64_t F) {
  for (std::int64_t t = 0; t < T; ++t) {
    for (std::int64_t f = 0; f < F; ++f) {
      const Real gate = gate_up[t * 2 * F + f];
      h_TF[t * F + f] = gate / (Real(1) + std::exp(-gate)) * gate_up[t * 2 * F + F + f];
    }
  }
}

/// dgate = dh * up * silu'(gate) with silu'(x) = sig (1 + x (1 - sig)); dup = dh * silu(gate). May be in place. Local.
template <typename Real>
void swiglu_backward(Real* dgate_up, const Real* dh_TF, const Real* gate_up, std::int64_t T, std::int64_t F) {
  for (std::int64_t t = 0; t < T; ++t) {
    for (std::int64_t f = 0; f < F; ++f) {
      const std::int64_t at = t * 2 * F + f;
      const Real gate = gate_up[at];
      const Real up = gate_up[at + F];
      const Real sigmoid = Real(1) / (Real(1) + std::exp(-gate));
      dgate_up[at] = dh_TF[t * F + f] * up * sigmoid * (Real(1) + gate * (Real(1) - sigmoid));
      dgate_up[at + F] = dh_TF[t * F + f] * gate * sigmoid;
    }
  }
}

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
