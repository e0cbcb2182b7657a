// SPDX-License-Identifier: Apache-2.0
/// Whose kernels compute attention on a GPU.
#pragma once

#include <cstdint>

namespace dstrain {

/// dstrain's own take every shape; the others stand in for them where they take it. On a CPU it means nothing. cuDNN's
/// kernels are compiled before the first step (ops::attention_prepare).
enum class AttentionKernels : std::uint8_t {
  own,
  cudnn,           ///< cuDNN's, the same bits in every run
  cudnn_any_order  ///< cuDNN's, whose backward pass may add in any order: less workspace, other bits in every run
};

}  // namespace dstrain
