// SPDX-License-Identifier: Apache-2.0
/// The two ends of a Newton-Schulz iteration (zero/newton_schulz.hpp); its middle is matrix products.
#pragma once

#include "kernels/ops/common.hpp"

namespace dstrain::ops {

/// x = m / (|m| + 1e-7) as bf16 arithmetic has it: the elements are rounded, their 2-norm is taken in f64 and rounded,
/// and so are the sum and the quotients.
///
/// Local. Needs unit_matrix_workspace_bytes. The order of the sum depends on the size alone; it differs between
/// backends, which the rounding of the norm hides but for a rare last bit.
/// @param[out] x       bf16 [rows, columns], or [columns, rows] where `transposed`
/// @param[in]  matrix  f32 [rows, columns]
void unit_matrix(const Exec& exec, Data x, const float* matrix, std::int64_t rows, std::int64_t columns,
                 bool transposed);
std::int64_t unit_matrix_workspace_bytes(DeviceKind device = DeviceKind::cpu);

/// matrix [rows, columns] in f32 = x, or its transpose where `transposed`. Local.
void widen_matrix(const Exec& exec, float* matrix, ConstData x, std::int64_t rows, std::int64_t columns,
                  bool transposed);

}  // namespace dstrain::ops
