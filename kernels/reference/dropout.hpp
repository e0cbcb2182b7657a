// SPDX-License-Identifier: Apache-2.0
/// Dropout, one element at a time.
#pragma once

#include "core/rng.hpp"
#include "kernels/ops/dropout.hpp"

namespace dstrain::reference {

/// 0 where element `index` is dropped, 1 / (1 - p) where it is kept. Local.
template <typename Real>
Real dropout_factor(const DropoutKey& key, std::uint64_t index) {
  if (key.probability <= 0) return Real(1);
  const Rng rng(key.seed, RngSite::model_dropout, key.site, key.sample);
  const bool dropped = static_cast<double>(rng.bits(index)) < static_cast<double>(key.probability) * 0x1p32;
  return dropped ? Real(0) : Real(1) / (Real(1) - static_cast<Real>(key.probability));
}

template <typename Real>
void dropout(Real* x, std::int64_t count, const DropoutKey& key) {
  for (std::int64_t i = 0; i < count; ++i) x[i] *= dropout_factor<Real>(key, static_cast<std::uint64_t>(i));
}

}  // namespace dstrain::reference
