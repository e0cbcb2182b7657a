// SPDX-License-Identifier: Apache-2.0
/// The check of cuDNN's attention at start. Private to kernels/cuda.
#pragma once

#include <string>

#include "kernels/cuda/simt.hpp"
#include "kernels/ops/attention.hpp"

namespace dstrain::DSTRAIN_KERNELS {

/// Runs a small problem with the heads, strides and window of `s` on dstrain's own kernels and on cuDNN's and compares
/// what both wrote, backward's too where `backward`, and twice by cuDNN where it should give the same bits. Waits.
/// @return what differs or failed; empty: nothing
std::string try_cudnn(const Exec& exec, const AttentionShape& s, DType dtype, bool backward);

}  // namespace dstrain::DSTRAIN_KERNELS
