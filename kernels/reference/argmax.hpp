// SPDX-License-Identifier: Apache-2.0
/// The likeliest token of each row as plain loops: the definition that the backends are tested against.
#pragma once

#include <cmath>

#include "kernels/ops/argmax.hpp"

namespace dstrain::reference {

/// likeliest[t] = the lowest v with the greatest logits[t,v] (a NaN before every number); -1 where target[t] < 0.
/// Local.
template <typename Real>
void argmax(std::int32_t* likeliest_T, const Real* logits_TV, const std::int32_t* target_T, std::int64_t T,
            std::int64_t V, std::int64_t ld) {
  for (std::int64_t t = 0; t < T; ++t) {
    const Real* row = logits_TV + t * ld;
    std::int64_t best = 0;
    for (std::int64_t v = 1; v < V && !std::isnan(row[best]); ++v) {
      if (std::isnan(row[v]) || row[v] > row[best]) best = v;
    }
    likeliest_T[t] = target_T[t] >= 0 ? static_cast<std::int32_t>(best) : -1;
  }
}

}  // namespace dstrain::reference
