// SPDX-License-Identifier: Apache-2.0
/// Activations on the CPU: rows over threads.
#include "core/parallel.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/simd/functions.hpp"

namespace dstrain::cpu {

namespace {

constexpr IsaTables<ActivationFunctions> tables = DSTRAIN_ISA_TABLES(activation);

const ActivationFunctions::OfKind& functions_of(Activation kind) {
  return tables.get().of_kind[static_cast<std::size_t>(kind)];
}

}  // namespace

void activation_forward(const Exec& /*exec*/, Data h_TF, ConstData x, ActivationShape s) {
  const int storage = storage_index({h_TF.dtype, x.dtype}, "activation_forward");
  const auto& run = functions_of(s.kind);
  const std::int64_t F = s.F;
  parallel_for(s.T, rows_grain(F), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      if (s.gated) {
        run.gated_forward[storage](h_TF.at(t * F).data, x.at(2 * t * F).data, x.at((2 * t + 1) * F).data, F);
      } else {
        run.plain_forward[storage](h_TF.at(t * F).data, x.at(t * F).data, F);
      }
    }
  });
}

void activation_backward(const Exec& /*exec*/, Data dx, ConstData dh_TF, ConstData x, ActivationShape s) {
  const int storage = storage_index({dx.dtype, dh_TF.dtype, x.dtype}, "activation_backward");
  const auto& run = functions_of(s.kind);
  const std::int64_t F = s.F;
  parallel_for(s.T, rows_grain(F), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      if (s.gated) {
        const std::int64_t gate = 2 * t * F;
        const std::int64_t up = gate + F;
        run.gated_backward[storage](dx.at(gate).data, dx.at(up).data, dh_TF.at(t * F).data, x.at(gate).data,
                                    x.at(up).data, F);
      } else {
        run.plain_backward[storage](dx.at(t * F).data, dh_TF.at(t * F).data, x.at(t * F).data, F);
      }
    }
  });
}

}  // namespace dstrain::cpu
