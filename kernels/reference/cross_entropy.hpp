// SPDX-License-Identifier: Apache-2.0
/// Softmax cross entropy as plain loops: the definition that the backends are tested against.
#pragma once

#include <cmath>

#include "kernels/ops/cross_entropy.hpp"

namespace dstrain::reference {

/// nll[t] = logsumexp(logits[t,:]) - logits[t, target[t]]; dlogits[t,v] = weight[t] * (softmax(logits[t,:])[v] - (v ==
/// target[t])); both 0 where target[t] < 0;
/// with a softcap times 1 - (logit / softcap)^2. dlogits may be null or `logits` itself. Local.
template <typename Real>
void cross_entropy(Real* dlogits_TV, Real* nll_T, const Real* logits_TV, const std::int32_t* target_T,
                   const Real* weight_T, std::int64_t T, std::int64_t V, std::int64_t ld, Real softcap = 0) {
  for (std::int64_t t = 0; t < T; ++t) {
    const Real* row = logits_TV + t * ld;
    const bool counted = target_T[t] >= 0;
    Real greatest = row[0];
    for (std::int64_t v = 1; v < V; ++v) greatest = row[v] > greatest ? row[v] : greatest;
    Real sum = 0;
    for (std::int64_t v = 0; v < V; ++v) sum += std::exp(row[v] - greatest);
    nll_T[t] = counted ? std::log(sum) + greatest - row[target_T[t]] : Real(0);
    for (std::int64_t v = 0; dlogits_TV != nullptr && v < V; ++v) {
      const Real probability = std::exp(row[v] - greatest) / sum;
      const Real slope = softcap > 0 ? 1 - (row[v] / softcap) * (row[v] / softcap) : Real(1);
      const Real difference = probability - Real(v == target_T[t] ? 1 : 0);
      dlogits_TV[t * ld + v] = counted ? weight_T[t] * difference * slope : Real(0);
    }
  }
}

}  // namespace dstrain::reference
