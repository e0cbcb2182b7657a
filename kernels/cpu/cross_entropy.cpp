// SPDX-License-Identifier: Apache-2.0
/// Softmax cross entropy on the CPU: rows over threads.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "core/parallel.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/simd/functions.hpp"

namespace dstrain::cpu {

namespace {

constexpr IsaTables<CrossEntropyFunctions> tables = DSTRAIN_ISA_TABLES(cross_entropy);

/// A target behind the vocabulary would write outside the row; T comparisons are nothing next to T * V exponentials.
void check_targets(const std::int32_t* target_T, std::int64_t T, std::int64_t V) {
  for (std::int64_t t = 0; t < T; ++t) {
    if (target_T[t] >= V)
      throw ShapeError(fmt::format("cross_entropy: target {} of row {} is not below {} logits", target_T[t], t, V));
  }
}

/// (H / 3)^power of the softmax over the largest logits of a row.
float entropy_factor(const float* logits, std::int64_t V, float power) {
  std::array<float, TokenLoss::entropy_logits> top{};  // descending
  const auto kept = static_cast<std::size_t>(std::min<std::int64_t>(V, TokenLoss::entropy_logits));
  std::size_t count = 0;
  for (std::int64_t v = 0; v < V; ++v) {
    if (count == kept && logits[v] <= top[kept - 1]) continue;
    std::size_t at = count < kept ? count++ : kept - 1;
    for (; at > 0 && top[at - 1] < logits[v]; --at) top[at] = top[at - 1];
    top[at] = logits[v];
  }
  double sum = 0.0;
  for (std::size_t i = 0; i < count; ++i) sum += std::exp(static_cast<double>(top[i]) - static_cast<double>(top[0]));
  double entropy = 0.0;
  for (std::size_t i = 0; i < count; ++i) {
    const double log_p = static_cast<double>(top[i]) - static_cast<double>(top[0]) - std::log(sum);
    if (std::exp(log_p) > 0.0) entropy -= std::exp(log_p) * log_p;
  }
  return static_cast<float>(std::pow(entropy / 3.0, static_cast<double>(power)));
}

}  // namespace

void cross_entropy(const Exec& /*exec*/, Data dlogits, float* nll_T, const float* logits_TV,
                   const std::int32_t* target_T, const float* weight_T, std::int64_t T, std::int64_t V, std::int64_t ld,
                   float softcap, const TokenLoss& loss) {
  const bool with_gradient = dlogits.data != nullptr;
  const int storage = with_gradient ? storage_index(dlogits.dtype, "cross_entropy") : 0;
  check_targets(target_T, T, V);
  const auto row = tables.get().row[storage];
  parallel_for(T, rows_grain(V), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      void* gradient = with_gradient ? dlogits.at(t * ld).data : nullptr;
      if (target_T[t] < 0) {
        nll_T[t] = 0.0F;
        if (with_gradient) std::memset(gradient, 0, static_cast<std::size_t>(V) * size_of(dlogits.dtype));
        continue;
      }
      const float* logits = logits_TV + t * ld;
      const float factor = loss.times_entropy ? entropy_factor(logits, V, loss.entropy_power) : 1.0F;
      nll_T[t] = factor * row(gradient, logits, target_T[t], with_gradient ? factor * weight_T[t] : 0.0F, V, softcap,
                              loss.label_smoothing, loss.times_probability);
    }
  });
}

void loss_sums(const Exec& /*exec*/, double* sums, const float* nll_T, const std::int32_t* target_T,
               const float* weight_T, std::int64_t T) {
  double loss = 0.0;
  double nll_sum = 0.0;
  std::int64_t targets = 0;
  for (std::int64_t t = 0; t < T; ++t) {
    if (target_T[t] < 0) continue;
    const double nll = nll_T[t];
    loss += static_cast<double>(weight_T[t]) * nll;
    nll_sum += nll;
    ++targets;
  }
  sums[0] = loss;
  sums[1] = nll_sum;
  sums[2] = static_cast<double>(targets);
}

}  // namespace dstrain::cpu
