// SPDX-License-Identifier: Apache-2.0
#include "core/rng.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace dstrain {
namespace {

using Four = std::array<std::uint32_t, 4>;

// The known answers that Salmon et al. publish with their generator (Random123, kat_vectors, philox4x32 with 10
// rounds).
TEST(Philox, GivesThePublishedAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Four{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U}));
  EXPECT_EQ(philox4x32({0xffffffffU, 0xffffffffU, 0xffffffffU, 0xffffffffU}, {0xffffffffU, 0xffffffffU}),
            (Four{0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU}));
  EXPECT_EQ(philox4x32({0x243f6a88U, 0x85a308d3U, 0x13198a2eU, 0x03707344U}, {0xa4093822U, 0x299f31d0U}),
            (Four{0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U}));
}

TEST(Rng, DependsOnEveryPartOfItsKey) {
  std::set<std::uint32_t> seen;
  for (const auto& rng :
       {Rng(1, RngSite::dropout, 2, 3), Rng(2, RngSite::dropout, 2, 3), Rng(1ULL << 32 | 1, RngSite::dropout, 2, 3),
        Rng(1, RngSite::neftune, 2, 3), Rng(1, RngSite::dropout, 3, 3), Rng(1, RngSite::dropout, 2, 4)}) {
    seen.insert(rng.bits(0));
  }
  EXPECT_EQ(seen.size(), 6U);
  EXPECT_NE(Rng(1, RngSite::dropout, 2, 3).bits(5), Rng(1, RngSite::dropout, 2, 3).bits(5ULL + (1ULL << 40)));
}

TEST(Rng, AnElementIsTheSameInAnyOrder) {
  const Rng rng(42, RngSite::weights, 0, 7);
  const auto four = rng.block(102);

  for (std::uint64_t i = 0; i < 4; ++i) EXPECT_EQ(rng.bits(100 + i), four[i]);
}

TEST(Rng, UniformStaysBelowOneAndHasTheRightMoments) {
  const Rng rng(3, RngSite::dropout, 0, 0);
  constexpr int n = 100'000;
  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) {
    const float u = rng.uniform(static_cast<std::uint64_t>(i));
    ASSERT_GE(u, 0.0F);
    ASSERT_LT(u, 1.0F);
    sum += u;
    squares += static_cast<double>(u) * u;
  }
  EXPECT_NEAR(sum / n, 0.5, 5 * std::sqrt(1.0 / 12 / n));
  EXPECT_NEAR(squares / n, 1.0 / 3, 0.005);
}

TEST(Rng, NormalHasTheRightMoments) {
  const Rng rng(4, RngSite::weights, 0, 0);
  constexpr int n = 100'000;
  double sum = 0, squares = 0, fourth = 0;
  for (int i = 0; i < n; ++i) {
    const double z = rng.normal(static_cast<std::uint64_t>(i));
    ASSERT_TRUE(std::isfinite(z));
    sum += z, squares += z * z, fourth += z * z * z * z;
  }
  EXPECT_NEAR(sum / n, 0.0, 5 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1.0, 5 * std::sqrt(2.0 / n));
  EXPECT_NEAR(fourth / n, 3.0, 5 * std::sqrt(96.0 / n));
}

}  // namespace
}  // namespace dstrain
