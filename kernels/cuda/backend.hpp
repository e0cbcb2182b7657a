// SPDX-License-Identifier: Apache-2.0
/// The operations of kernels/ops on a CUDA device: same names, arguments and meaning as everywhere.
///
/// Calls queue work on the stream of `exec` and return; what they write is there when the stream has come so far. All
/// pointers are memory that the device reaches (of the device, or pinned) but for those that their operation calls host
/// memory. Sums have a fixed order that depends on sizes alone: the same call gives the same bits. Products are
/// cuBLASLt's (matmul.cpp). The functions that return a number wait for the stream.
#pragma once

#include "kernels/ops.hpp"

namespace dstrain::cuda {

#include "kernels/backend_operations.inc"

}  // namespace dstrain::cuda

/// The same sources on a CPU, thread by thread (emulation/simt.hpp); products are the CPU backend's.
namespace dstrain::emulated {

#include "kernels/backend_operations.inc"

}  // namespace dstrain::emulated
