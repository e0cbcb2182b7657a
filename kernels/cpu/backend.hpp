// SPDX-License-Identifier: Apache-2.0
/// The operations of kernels/ops on the CPU: same names, arguments and meaning. dispatch.cpp chooses this backend.
///
/// Threads are those of core/parallel.hpp; the bits of a result depend on the instruction set in use
/// (cpu/simd/isa.hpp), never on the number of threads. All throw ShapeError for dtypes they do not know and for a
/// workspace that is too small, before anything is written.
#pragma once

#include "kernels/ops.hpp"

namespace dstrain::cpu {

#include "kernels/backend_operations.inc"

}  // namespace dstrain::cpu
