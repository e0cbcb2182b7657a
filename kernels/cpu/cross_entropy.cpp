// SPDX-License-Identifier: Apache-2.0
/// Softmax cross entropy on the CPU: rows over threads.
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

}  // namespace

void cross_entropy(const Exec& /*exec*/, Data dlogits, float* nll_T, const float* logits_TV,
                   const std::int32_t* target_T, const float* weight_T, std::int64_t T, std::int64_t V, std::int64_t ld,
                   float softcap) {
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
      nll_T[t] = row(gradient, logits_TV + t * ld, target_T[t], with_gradient ? weight_T[t] : 0.0F, V, softcap);
    }
  });
}

}  // namespace dstrain::cpu
