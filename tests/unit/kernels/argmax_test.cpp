// SPDX-License-Identifier: Apache-2.0
/// The likeliest token of each row: hand-made rows -> reference -> cpu.
#include <gtest/gtest.h>

#include <limits>
#include <tuple>

#include "core/error.hpp"
#include "kernels/ops/argmax.hpp"
#include "kernels/reference/argmax.hpp"
#include "support/random.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain::test::argmax_test {
namespace {

TEST(ArgmaxReference, TakesTheFirstOfEqualsAndSkipsRowsWithoutATarget) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float logits[] = {1, 3, 3, 0, -9, 1, 9, 2, 0, 5, nan, 9};
  const std::int32_t target[] = {0, -1, 3};
  std::int32_t likeliest[3];

  reference::argmax(likeliest, logits, target, 3, 4, 4);

  EXPECT_EQ(likeliest[0], 1);
  EXPECT_EQ(likeliest[1], -1);
  EXPECT_EQ(likeliest[2], 2);
}

TEST(Argmax, MatchesReference) {
  for (const auto& [T, V, ld] :
       {std::tuple{1L, 1L, 1L}, std::tuple{5L, 7L, 9L}, std::tuple{3L, 131L, 140L}, std::tuple{4L, 32003L, 32003L}}) {
    SCOPED_TRACE(testing::Message() << T << " x " << V);
    const Buffer logits(DType::f32, uniform(T * ld, 1, -9, 9));
    std::vector<float> values(logits.f32(), logits.f32() + T * ld);
    if (T > 2) values[static_cast<std::size_t>(2 * ld + V / 2)] = std::numeric_limits<float>::quiet_NaN();
    values[static_cast<std::size_t>(V - 1)] = 10.0F;  // the last place of a row
    std::vector<std::int32_t> target(static_cast<std::size_t>(T), 0);
    if (T > 1) target[1] = -100;
    std::vector<std::int32_t> expected(target.size()), likeliest(target.size());
    reference::argmax(expected.data(), values.data(), target.data(), T, V, ld);

    ops::argmax({}, likeliest.data(), values.data(), target.data(), T, V, ld);

    EXPECT_EQ(likeliest, expected);
    EXPECT_EQ(likeliest[0], V - 1);
  }
}

TEST(Argmax, RefusesAnEmptyVocabulary) {
  std::int32_t likeliest = 0;
  const std::int32_t target = 0;
  EXPECT_THROW(ops::argmax({}, &likeliest, nullptr, &target, 1, 0, 0), ShapeError);
}

}  // namespace
}  // namespace dstrain::test::argmax_test
