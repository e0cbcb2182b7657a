// SPDX-License-Identifier: Apache-2.0
/// Orthogonalisation of a matrix by a Newton-Schulz iteration in bf16. Private to src/zero.
#pragma once

#include <cstdint>

#include "kernels/ops/common.hpp"

namespace dstrain {

/// bf16 elements that newton_schulz() works in. Local, pure.
std::int64_t newton_schulz_elements(std::int64_t rows, std::int64_t columns) noexcept;

/// Workspace of its products. Local.
std::int64_t newton_schulz_workspace_bytes(std::int64_t rows, std::int64_t columns,
                                           DeviceKind device = DeviceKind::cpu);

/// Makes the kernels of its products, so that no step pays for them. Local.
void newton_schulz_prepare(std::int64_t rows, std::int64_t columns, DeviceKind device = DeviceKind::cpu);

/// Replaces a row-major matrix by about U V^T of its singular value decomposition U S V^T.
///
/// Local. X = G / |G|, then `steps` times X = a X + (b A + c A^2) X with A = X X^T and (a, b, c) = (3.4445, -4.7750,
/// 2.0315), every intermediate rounded to bf16; a matrix with more rows than columns is taken transposed. Jordan et
/// al., "Muon: An optimizer for hidden layers in neural networks" (2024).
/// @param matrix    where exec runs
/// @param iterates  newton_schulz_elements of bf16, there too
/// @param exec      with newton_schulz_workspace_bytes
void newton_schulz(const Exec& exec, float* matrix, std::int64_t rows, std::int64_t columns, int steps, Data iterates);

}  // namespace dstrain
