// SPDX-License-Identifier: Apache-2.0
/// Reproducible test data.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace dstrain::test {

/// `count` numbers in [low, high), the same on every machine for the same seed.
template <typename Real = double>
std::vector<Real> uniform(std::int64_t count, std::uint32_t seed, double low = -1.0, double high = 1.0) {
  std::mt19937 engine(seed);  // its sequence is fixed by the standard; the standard's distributions are not
  std::vector<Real> values(static_cast<std::size_t>(count));
  for (auto& value : values) value = static_cast<Real>(low + (high - low) * (static_cast<double>(engine()) * 0x1p-32));
  return values;
}

/// `count` small integers in [-bound, bound]: sums of a few thousand of them are exact in float.
template <typename Real = float>
std::vector<Real> small_integers(std::int64_t count, std::uint32_t seed, int bound = 8) {
  std::mt19937 engine(seed);
  std::vector<Real> values(static_cast<std::size_t>(count));
  const auto span = static_cast<std::uint32_t>(2 * bound + 1);
  for (auto& value : values) value = static_cast<Real>(static_cast<float>(static_cast<int>(engine() % span) - bound));
  return values;
}

}  // namespace dstrain::test
