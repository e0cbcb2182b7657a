// SPDX-License-Identifier: Apache-2.0
#include "model/adapters/pissa.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/error.hpp"
#include "support/random.hpp"

namespace dstrain::pissa_test {
namespace {

std::vector<float> matrix(std::int64_t out, std::int64_t in) {
  const auto values = test::uniform(out * in, 5);
  return {values.begin(), values.end()};
}

/// W - scale B A
std::vector<double> rest_of(const std::vector<float>& w, const PissaFactors& f, std::int64_t out, std::int64_t in,
                            std::int64_t rank, double scale) {
  std::vector<double> rest(w.begin(), w.end());
  for (std::int64_t i = 0; i < out; ++i) {
    for (std::int64_t j = 0; j < in; ++j) {
      for (std::int64_t r = 0; r < rank; ++r) {
        rest[static_cast<std::size_t>(i * in + j)] -=
            scale * f.b[static_cast<std::size_t>(i * rank + r)] * f.a[static_cast<std::size_t>(r * in + j)];
      }
    }
  }
  return rest;
}

double frobenius(const std::vector<double>& m) {
  double squares = 0.0;
  for (const double v : m) squares += v * v;
  return std::sqrt(squares);
}

// What is taken out are whole singular directions: the rest is orthogonal to them on both sides, and smaller by exactly
// their singular values.
TEST(Pissa, TakesOutTheLargestSingularDirections) {
  for (const auto& [out, in] : {std::pair{24, 40}, std::pair{130, 60}, std::pair{64, 172}}) {
    const std::int64_t rank = 5;
    const double scale = 1.5;
    const auto w = matrix(out, in);

    const auto f = pissa_factors(w, out, in, rank, scale, -1, 3);

    const auto rest = rest_of(w, f, out, in, rank, scale);
    double taken = 0.0;
    double smallest = 1e30;
    for (std::int64_t r = 0; r < rank; ++r) {
      double singular = 0.0;
      for (std::int64_t j = 0; j < in; ++j) singular += std::pow(f.a[static_cast<std::size_t>(r * in + j)], 2) * scale;
      taken += singular * singular;
      smallest = std::min(smallest, singular);
      for (std::int64_t i = 0; i < out; ++i) {
        double overlap = 0.0;
        for (std::int64_t j = 0; j < in; ++j)
          overlap += rest[static_cast<std::size_t>(i * in + j)] * f.a[static_cast<std::size_t>(r * in + j)];
        EXPECT_NEAR(overlap, 0.0, 2e-5) << out << " x " << in << ", direction " << r;
      }
    }
    const double before = frobenius({w.begin(), w.end()});
    EXPECT_NEAR(std::pow(frobenius(rest), 2), before * before - taken, 1e-4 * before * before);
    // Nothing larger is left: power iteration on the rest stays below.
    std::vector<double> v(static_cast<std::size_t>(in), 1.0);
    double norm = 0.0;
    for (int step = 0; step < 200; ++step) {
      std::vector<double> u(static_cast<std::size_t>(out), 0.0), next(v.size(), 0.0);
      for (std::int64_t i = 0; i < out; ++i) {
        for (std::int64_t j = 0; j < in; ++j)
          u[static_cast<std::size_t>(i)] += rest[static_cast<std::size_t>(i * in + j)] * v[static_cast<std::size_t>(j)];
      }
      for (std::int64_t i = 0; i < out; ++i) {
        for (std::int64_t j = 0; j < in; ++j)
          next[static_cast<std::size_t>(j)] +=
              rest[static_cast<std::size_t>(i * in + j)] * u[static_cast<std::size_t>(i)];
      }
      norm = frobenius(next);
      for (auto& x : next) x /= norm;
      v = next;
    }
    EXPECT_LE(std::sqrt(norm), smallest * (1 + 1e-6));
  }
}

TEST(Pissa, TheFastFormComesCloseAndIsReproducible) {
  const auto w = matrix(60, 80);

  const auto exact = pissa_factors(w, 60, 80, 4, 1.0, -1, 3);
  const auto fast = pissa_factors(w, 60, 80, 4, 1.0, 16, 3);
  const auto again = pissa_factors(w, 60, 80, 4, 1.0, 16, 3);

  const double best = frobenius(rest_of(w, exact, 60, 80, 4, 1.0));
  EXPECT_NEAR(frobenius(rest_of(w, fast, 60, 80, 4, 1.0)), best, 1e-3 * best);
  EXPECT_EQ(fast.a, again.a);
  EXPECT_EQ(fast.b, again.b);
}

TEST(Pissa, OfAMatrixOfLowRankLeavesNothing) {
  std::vector<float> w(30 * 20);
  for (int i = 0; i < 30; ++i) {
    for (int j = 0; j < 20; ++j) w[static_cast<std::size_t>(i * 20 + j)] = static_cast<float>((i + 1) * (j - 7));
  }

  const auto f = pissa_factors(w, 30, 20, 3, 2.0, -1, 1);

  EXPECT_LE(frobenius(rest_of(w, f, 30, 20, 3, 2.0)), 1e-5 * frobenius({w.begin(), w.end()}));
}

TEST(Pissa, ARankAboveTheSmallerSideIsRefused) {
  const auto w = matrix(4, 9);
  EXPECT_THROW((void)pissa_factors(w, 4, 9, 5, 1.0, -1, 0), ConfigError);
}

}  // namespace
}  // namespace dstrain::pissa_test
