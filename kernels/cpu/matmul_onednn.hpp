// SPDX-License-Identifier: Apache-2.0
/// bf16 matrix products by oneDNN, for CPUs with matrix units (AMX).
#pragma once

#include "kernels/ops/matmul.hpp"

namespace dstrain::cpu {

/// C (+)= op(A) op(B) in bf16; C bf16 or f32. Strides of `shape` are set, sizes are not zero. C is cut into a grid that
/// depends on the shape alone; one thread each works through a piece, with primitives made for one thread, so that no
/// bit depends on the number of threads.
/// @throws Error  oneDNN cannot make the product on this CPU
void matmul_onednn(void* workspace, Data c, ConstData a, ConstData b, const MatmulShape& shape, bool accumulate);

/// Workspace for max_threads() threads: scratchpads, and A as rows where it is stored transposed. Makes the primitives.
std::int64_t onednn_workspace_bytes(const MatmulShape& shape, DType c);

/// What oneDNN may use here, as CPU, operating system and ONEDNN_MAX_CPU_ISA allow: products of bf16 at all, and matrix
/// units.
struct OnednnUnits {
  bool bf16;
  bool amx;
};
OnednnUnits onednn_units() noexcept;

/// Makes the primitives of the shape (JIT), which are kept for the life of the process.
void onednn_prepare(const MatmulShape& shape, DType c, bool accumulate);

}  // namespace dstrain::cpu
