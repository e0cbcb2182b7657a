// SPDX-License-Identifier: Apache-2.0
/// What the optimizer updates share. The numbers of an update are made on the host, as for the CPU.
#pragma once

#include "kernels/cpu/optimizer_scalars.hpp"
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/simt.hpp"

namespace dstrain::DSTRAIN_KERNELS {

/// m.lerp_(g, weight): torch's lerp starts from the nearer end, for weight >= 0.5 from the gradient.
DSTRAIN_DEVICE float lerp(float m, float g, float weight) {
  return weight < 0.5F ? fmaf(weight, g - m, m) : fmaf(weight - 1.0F, g - m, g);
}

/// -1, 0 or 1.
DSTRAIN_DEVICE float sign(float v) { return v > 0.0F ? 1.0F : v < 0.0F ? -1.0F : 0.0F; }

/// Takes the scale of the gradients from memory where it stands there. @return false: nothing is to be updated
DSTRAIN_DEVICE bool take_scale(cpu::UpdateScalars& a, const double* scale_at) {
  if (scale_at == nullptr) return true;
  const double scale = *scale_at;
  a.gradient_scale = static_cast<float>(scale);
  return scale == scale;  // NaN is not
}

/// Writes a weight, and its copy in the compute dtype.
DSTRAIN_DEVICE void store_weight(float* master, const cpu::ComputeCopy& copy, std::int64_t i, float w) {
  master[i] = w;
  if (copy.data == nullptr) return;
  if (copy.storage == 2) {
    narrow(static_cast<F16*>(copy.data)[i], w);
  } else {
    narrow(static_cast<Bf16*>(copy.data)[i], w);
  }
}

}  // namespace dstrain::DSTRAIN_KERNELS
