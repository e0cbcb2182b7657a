// SPDX-License-Identifier: Apache-2.0
/// How close is equal: by dtype and by the length of the sums, never tuned per test.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "core/dtype.hpp"

namespace dstrain::test {

struct Tolerance {
  double relative = 0;
  double absolute = 0;
};

/// torch.testing.assert_close's defaults for `dtype`; for sums of `reduction_length` products the error of a random
/// walk of roundings is added: sqrt(length) units in the last place of the accumulator, relative to the sum of
/// magnitudes (about 1 per element in tests).
inline Tolerance tolerance_for(DType dtype, std::int64_t reduction_length = 1) {
  Tolerance base;
  double rounding = 0;
  switch (dtype) {
    case DType::f64:
      base = {1e-7, 1e-7}, rounding = 0x1p-53;
      break;
    case DType::f32:
      base = {1.3e-6, 1e-5}, rounding = 0x1p-24;
      break;
    case DType::f16:
      base = {1e-3, 1e-5}, rounding = 0x1p-11;
      break;
    case DType::bf16:
      base = {1.6e-2, 1e-5}, rounding = 0x1p-8;
      break;
    default:
      return {};  // integers are equal or not
  }
  const double walk = std::sqrt(static_cast<double>(std::max<std::int64_t>(1, reduction_length))) * rounding;
  return {base.relative + walk, base.absolute + walk};
}

template <typename T>
double as_double(T value) {
  if constexpr (std::is_arithmetic_v<T>) {
    return static_cast<double>(value);
  } else {
    return static_cast<double>(static_cast<float>(value));  // bfloat16
  }
}

/// |actual - expected| <= absolute + relative * |expected| for every element; reports the worst one.
template <typename Actual, typename Expected>
testing::AssertionResult all_close(std::span<const Actual> actual, std::span<const Expected> expected,
                                   Tolerance tolerance) {
  if (actual.size() != expected.size()) {
    return testing::AssertionFailure() << "sizes differ: " << actual.size() << " and " << expected.size();
  }
  std::size_t worst = 0, wrong = 0;
  double worst_excess = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double a = as_double(actual[i]), e = as_double(expected[i]);
    const double difference = std::abs(a - e);
    const double excess = difference - (tolerance.absolute + tolerance.relative * std::abs(e));
    if (excess <= 0) continue;  // a NaN is not <= 0
    ++wrong;
    if (wrong == 1 || !(excess <= worst_excess)) worst = i, worst_excess = excess;
  }
  if (wrong == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << wrong << " of " << actual.size() << " differ; worst at " << worst << ": "
                                     << as_double(actual[worst]) << " instead of " << as_double(expected[worst]);
}

template <typename Actual, typename Expected>
testing::AssertionResult all_close(const std::vector<Actual>& actual, const std::vector<Expected>& expected,
                                   Tolerance tolerance) {
  return all_close(std::span<const Actual>(actual), std::span<const Expected>(expected), tolerance);
}

/// `gradient` is the derivative of `loss` (a function of a vector of doubles) at `x`: central differences in fp64, all
/// elements up to 256, then every n-th. Differences are relative to the larger of 1 and the largest gradient.
template <typename Loss>
void expect_gradient(const Loss& loss, std::vector<double> x, const std::vector<double>& gradient, double tolerance) {
  ASSERT_EQ(x.size(), gradient.size());
  double scale = 1.0;
  for (const double g : gradient) scale = std::max(scale, std::abs(g));
  const std::size_t stride = x.size() <= 256 ? 1 : x.size() / 256;
  for (std::size_t i = 0; i < x.size(); i += stride) {
    const double kept = x[i], h = 1e-5 * std::max(1.0, std::abs(kept));
    x[i] = kept + h;
    const double above = loss(x);
    x[i] = kept - h;
    const double below = loss(x);
    x[i] = kept;
    EXPECT_NEAR((above - below) / (2 * h), gradient[i], tolerance * scale) << "element " << i;
  }
}

}  // namespace dstrain::test
