// SPDX-License-Identifier: Apache-2.0
#include "core/rng.hpp"

#include <cmath>
#include <numbers>

namespace dstrain {
namespace {

constexpr std::uint32_t multiplier_0 = 0xD2511F53U, multiplier_1 = 0xCD9E8D57U;
constexpr std::uint32_t weyl_0 = 0x9E3779B9U, weyl_1 = 0xBB67AE85U;
constexpr int rounds = 10;

/// (0, 1]: what a logarithm can take.
double open_unit(std::uint32_t bits) noexcept { return (static_cast<double>(bits >> 8) + 1.0) * 0x1p-24; }

/// One of the two normals of a pair. In double, so that the float does not depend on the quality of a libm.
float box_muller(std::uint32_t radius_bits, std::uint32_t angle_bits, bool second) noexcept {
  const double radius = std::sqrt(-2.0 * std::log(open_unit(radius_bits)));
  const double angle = 2.0 * std::numbers::pi * (static_cast<double>(angle_bits) * 0x1p-32);
  return static_cast<float>(radius * (second ? std::sin(angle) : std::cos(angle)));
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> c, std::array<std::uint32_t, 2> k) noexcept {
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t product_0 = std::uint64_t{multiplier_0} * c[0];
    const std::uint64_t product_1 = std::uint64_t{multiplier_1} * c[2];
    c = {static_cast<std::uint32_t>(product_1 >> 32) ^ c[1] ^ k[0], static_cast<std::uint32_t>(product_1),
         static_cast<std::uint32_t>(product_0 >> 32) ^ c[3] ^ k[1], static_cast<std::uint32_t>(product_0)};
    k[0] += weyl_0;
    k[1] += weyl_1;
  }
  return c;
}

std::array<std::uint32_t, 4> Rng::block(std::uint64_t index) const noexcept {
  // The site takes the top byte of the block number (of 62 bits, 56 are left: no tensor is that long), so that no two
  // (seed, step, sample, site, block) share a counter and key.
  const std::uint64_t number = index >> 2;
  const auto high =
      (static_cast<std::uint32_t>(number >> 32) & 0x00ffffffU) | (static_cast<std::uint32_t>(site_) << 24);
  return philox4x32({static_cast<std::uint32_t>(number), high, step_, sample_},
                    {static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)});
}

std::uint32_t Rng::bits(std::uint64_t index) const noexcept { return block(index)[index & 3U]; }

float Rng::uniform(std::uint64_t index) const noexcept { return static_cast<float>(bits(index) >> 8) * 0x1p-24F; }

float Rng::normal(std::uint64_t index) const noexcept {
  const auto four = block(index);
  const std::size_t pair = index & 2U;
  return box_muller(four[pair], four[pair + 1], (index & 1U) != 0);
}

}  // namespace dstrain
