// SPDX-License-Identifier: Apache-2.0
/// What this machine can do and what a process costs on it before it trains.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "kernels/ops/common.hpp"

namespace dstrain {

/// FLOP/s that this rank reaches in one large matrix product with all its threads: the best of a few runs within ~60
/// ms. What MFU is measured against. Measured once in a process for each dtype, device and number of threads. Local;
/// call on all ranks at the same time, so that they share the machine as in training.
/// @param memory  at least matrix_peak_bytes(dtype) bytes, overwritten
double measure_matrix_peak(const Exec& exec, DType dtype, void* memory);
std::int64_t matrix_peak_bytes(DType dtype, DeviceKind device = DeviceKind::cpu);

/// Bytes that a rank holds besides its plan: program, libraries, JIT code, communicator (docs/memory.md). Local, pure.
std::int64_t runtime_floor_bytes(int ranks, int ranks_on_node, DeviceKind device);

}  // namespace dstrain
