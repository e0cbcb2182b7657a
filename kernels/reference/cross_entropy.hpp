// SPDX-License-Identifier: Apache-2.0
/// Softmax cross entropy as plain loops: the definition that the backends are tested against.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "kernels/ops/cross_entropy.hpp"

namespace dstrain::reference {

/// (H / 3)^power, H the entropy of the softmax over the largest TokenLoss::entropy_logits of a row.
template <typename Real>
Real entropy_factor(const Real* row, std::int64_t V, float power) {
  std::vector<Real> top(row, row + V);
  std::sort(top.begin(), top.end(), std::greater<>());
  top.resize(static_cast<std::size_t>(V < TokenLoss::entropy_logits ? V : TokenLoss::entropy_logits));
  Real sum = 0, entropy = 0;
  for (const Real x : top) sum += std::exp(x - top[0]);
  for (const Real x : top) entropy -= std::exp(x - top[0]) / sum * (x - top[0] - std::log(sum));
  return std::pow(entropy / 3, static_cast<Real>(power));
}

/// nll[t] = logsumexp(logits[t,:]) - logits[t, target[t]]; dlogits[t,v] = weight[t] * (softmax(logits[t,:])[v] - (v ==
/// target[t])); both 0 where target[t] < 0;
/// with a softcap times 1 - (logit / softcap)^2; with the others as TokenLoss says. dlogits
/// may be null or `logits` itself. Local.
template <typename Real>
void cross_entropy(Real* dlogits_TV, Real* nll_T, const Real* logits_TV, const std::int32_t* target_T,
                   const Real* weight_T, std::int64_t T, std::int64_t V, std::int64_t ld, Real softcap = 0,
                   const TokenLoss& loss = {}) {
  const Real e = static_cast<Real>(loss.label_smoothing);
  for (std::int64_t t = 0; t < T; ++t) {
    const Real* row = logits_TV + t * ld;
    const bool counted = target_T[t] >= 0;
    Real greatest = row[0];
    for (std::int64_t v = 1; v < V; ++v) greatest = row[v] > greatest ? row[v] : greatest;
    Real sum = 0;
    for (std::int64_t v = 0; v < V; ++v) sum += std::exp(row[v] - greatest);
    Real mean = 0;  // of -log p over the vocabulary
    for (std::int64_t v = 0; v < V; ++v) mean += (std::log(sum) + greatest - row[v]) / static_cast<Real>(V);
    const Real nll = counted ? std::log(sum) + greatest - row[target_T[t]] : Real(0);
    const Real constant = loss.times_probability ? std::exp(-nll)
                          : loss.times_entropy   ? entropy_factor(row, V, loss.entropy_power)
                                                 : Real(1);
    nll_T[t] = counted ? constant * ((1 - e) * nll + (e > 0 ? e * mean : Real(0))) : Real(0);
    for (std::int64_t v = 0; dlogits_TV != nullptr && v < V; ++v) {
      const Real probability = std::exp(row[v] - greatest) / sum;
      const Real slope = softcap > 0 ? 1 - (row[v] / softcap) * (row[v] / softcap) : Real(1);
      const Real difference = probability - (v == target_T[t] ? 1 - e : Real(0)) - e / static_cast<Real>(V);
      dlogits_TV[t * ld + v] = counted ? weight_T[t] * constant * difference * slope : Real(0);
    }
  }
}

}  // namespace dstrain::reference
