// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/dropout.hpp"

#include "core/parallel.hpp"
#include "core/rng.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/simd/functions.hpp"

namespace dstrain::cpu {

namespace {

constexpr IsaTables<RowNormFunctions> tables = DSTRAIN_ISA_TABLES(row_norm);
constexpr std::int64_t strip = 256;

}  // namespace

void dropout_factors(float* factors, const DropoutKey& key, std::uint64_t first, std::int64_t count) noexcept {
  const Rng rng(key.seed, RngSite::model_dropout, key.site, key.sample);
  const double limit = static_cast<double>(key.probability) * 0x1p32;
  const float kept = 1.0F / (1.0F - key.probability);
  for (std::int64_t i = 0; i < count; i += 4) {
    const auto bits = rng.block(first + static_cast<std::uint64_t>(i));
    for (std::int64_t k = 0; k < 4 && i + k < count; ++k)
      factors[i + k] = static_cast<double>(bits[static_cast<std::size_t>(k)]) < limit ? 0.0F : kept;
  }
}

void dropout(const Exec& /*exec*/, Data x, std::int64_t count, DropoutKey key) {
  const auto multiply = tables.get().multiply[storage_index(x.dtype, "dropout")];
  if (!(key.probability >= 0.0F && key.probability < 1.0F))
    throw ShapeError(fmt::format("dropout with probability {}", key.probability));
  if (key.probability == 0.0F) return;
  parallel_for((count + strip - 1) / strip, elements_per_thread / strip / 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * strip; i < end * strip && i < count; i += strip) {
      float factors[strip];
      const std::int64_t here = count - i < strip ? count - i : strip;
      dropout_factors(factors, key, static_cast<std::uint64_t>(i), here);
      multiply(x.at(i).data, factors, here);
    }
  });
}

}  // namespace dstrain::cpu
