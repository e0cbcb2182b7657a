// SPDX-License-Identifier: Apache-2.0
/// What the optimizer updates share. Only for the files that are compiled once per instruction set.
#pragma once

#include "kernels/cpu/simd/functions.hpp"
#include "kernels/cpu/simd/vec.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

/// Writes a weight, and its copy in the compute dtype.
template <typename Part>
DSTRAIN_INLINE void store_weight(float* master, const ComputeCopy& copy, std::int64_t i, VecF w, Part part) {
  store(master + i, w, part);
  if (copy.data == nullptr) return;
  if (copy.storage == 2) {
    store(static_cast<Half*>(copy.data) + i, w, part);
  } else {
    store(static_cast<std::uint16_t*>(copy.data) + i, w, part);
  }
}

/// -1, 0 or 1.
DSTRAIN_INLINE VecF sign(VecF v) { return v > 0.0F ? VecF{} + 1.0F : v < 0.0F ? VecF{} - 1.0F : VecF{}; }

}  // namespace
}  // namespace dstrain::cpu::DSTRAIN_ISA
