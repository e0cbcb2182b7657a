// SPDX-License-Identifier: Apache-2.0
/// What a search for NaN and infinity has found.
#pragma once

#include <string>

namespace dstrain {

/// The same on all ranks.
struct NonfiniteFinding {
  bool parameter = false;  ///< a weight is not finite: no later step can be good
  std::string text;        ///< "rank 2: the gradient of model.layers.3... element 17 is nan in micro-batch 0"
};

}  // namespace dstrain
