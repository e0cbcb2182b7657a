// SPDX-License-Identifier: Apache-2.0
/// Dropout with random numbers that depend on what is dropped, never on a rank, thread or packing.
#pragma once

#include "kernels/ops/common.hpp"

namespace dstrain {

/// One stream of decisions: element i is dropped where 32 random bits of (seed, site, sample, i) lie below
/// probability * 2^32, and scaled by 1 / (1 - probability) otherwise.
struct DropoutKey {
  float probability = 0.0F;  ///< 0: nothing is dropped; below 1
  std::uint64_t seed = 0;
  std::uint32_t sample = 0;  ///< the micro-batch in the run
  std::uint32_t site = 0;    ///< the place in the model
};

namespace ops {
/// x[i] = 0 or x[i] / (1 - p), in place; the backward pass is the same call on the gradient. Local. Srivastava et al.,
/// "Dropout", JMLR 15 (2014); inverted, as torch.
void dropout(const Exec& exec, Data x, std::int64_t count, DropoutKey key);
}  // namespace ops

}  // namespace dstrain
