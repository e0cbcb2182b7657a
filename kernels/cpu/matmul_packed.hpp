// SPDX-License-Identifier: Apache-2.0
/// The matrix product on packed panels (simd/gemm.cpp), threads included.
#pragma once

#include "kernels/cpu/simd/gemm_functions.hpp"
#include "kernels/ops/matmul.hpp"

namespace dstrain::cpu {

/// C (+)= op(A) op(B) with elements packed as `packing` says. Strides of `shape` are set, sizes are not zero; nothing
/// is checked. `workspace` holds packed_workspace_bytes.
void matmul_packed(void* workspace, Data c, ConstData a, ConstData b, const MatmulShape& shape, Packing packing,
                   bool accumulate);

/// Workspace for max_threads() threads.
std::int64_t packed_workspace_bytes(const MatmulShape& shape, Packing packing, DType c);

}  // namespace dstrain::cpu
