// SPDX-License-Identifier: Apache-2.0
/// The likeliest token of each row on the CPU: rows over threads.
#include <cmath>

#include "core/parallel.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/check.hpp"

namespace dstrain::cpu {

namespace {

/// One comparison per logit, next to a product of D multiplications per logit: not worth vectors.
std::int32_t argmax_of_row(const float* row, std::int64_t V) {
  std::int64_t best = 0;
  for (std::int64_t v = 1; v < V; ++v) {
    if (row[v] <= row[best]) continue;
    if (std::isnan(row[best])) break;
    best = v;
  }
  return static_cast<std::int32_t>(best);
}

}  // namespace

void argmax(const Exec& /*exec*/, std::int32_t* likeliest_T, const float* logits_TV, const std::int32_t* target_T,
            std::int64_t T, std::int64_t V, std::int64_t ld) {
  if (V < 1) throw ShapeError(fmt::format("argmax over {} logits", V));
  parallel_for(T, rows_grain(V), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      likeliest_T[t] = target_T[t] < 0 ? -1 : argmax_of_row(logits_TV + t * ld, V);
    }
  });
}

}  // namespace dstrain::cpu
