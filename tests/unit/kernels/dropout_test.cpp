// SPDX-License-Identifier: Apache-2.0
/// Dropout: its share, its streams, and cpu against the definition.
#include <algorithm>

#include "core/error.hpp"
#include "kernels/ops/dropout.hpp"
#include "kernels/ops/elementwise.hpp"
#include "kernels/reference/dropout.hpp"
#include "support/random.hpp"
#include "support/tolerance.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain::test::dropout_test {
namespace {

constexpr DropoutKey key{.probability = 0.25F, .seed = 3, .sample = 4, .site = 5};

TEST(DropoutReference, DropsItsShareAndKeepsTheMean) {
  constexpr std::int64_t count = 40000;
  std::vector<double> x(count, 1.0);

  reference::dropout(x.data(), count, key);

  const auto dropped = std::count(x.begin(), x.end(), 0.0);
  EXPECT_NEAR(static_cast<double>(dropped) / count, 0.25, 0.01);
  EXPECT_NEAR(*std::max_element(x.begin(), x.end()), 1.0 / 0.75, 1e-7);
}

class Dropout : public KernelTest {};

TEST_P(Dropout, MatchesReference) {
  for (const std::int64_t count : {1, 3, 7, 255, 256, 1031, 70000}) {
    const Buffer before(dtype(), uniform(count, 1));
    Buffer x = before;
    auto expected = before.values();
    reference::dropout(expected.data(), count, key);

    ops::dropout({}, x.data(), count, key);

    EXPECT_TRUE(all_close(x.values(), expected, tolerance_for(dtype())));
  }
}

TEST_P(Dropout, DependsOnEveryPartOfItsKeyAndOnNothingElse) {
  const auto dropped = [](DropoutKey k) {
    Buffer x(dtype(), 64, 1.0);
    ops::dropout({}, x.data(), 64, k);
    return x.values();
  };
  const auto expected = dropped(key);

  EXPECT_EQ(dropped(key), expected);
  EXPECT_NE(dropped({0.25F, 4, 4, 5}), expected);
  EXPECT_NE(dropped({0.25F, 3, 5, 5}), expected);
  EXPECT_NE(dropped({0.25F, 3, 4, 6}), expected);
  expect_same_for_any_threads([&] {
    Buffer x(dtype(), 100000, 1.0);
    ops::dropout({}, x.data(), 100000, key);
    return x.bits();
  });
}

TEST_P(Dropout, OfNothingChangesNothingAndOfEverythingIsRefused) {
  Buffer x(dtype(), 9, 1.0);
  const Buffer before = x;

  ops::dropout({}, x.data(), 9, {});

  EXPECT_EQ(x.bits(), before.bits());
  EXPECT_THROW(ops::dropout({}, x.data(), 9, {.probability = 1.0F}), ShapeError);
}

INSTANTIATE_TEST_SUITE_P(Cpu, Dropout, every_isa_and_dtype(), name_of_case);

class Softcap : public KernelTest {};

TEST_P(Softcap, BendsLargeValuesAndKeepsTheDigitsOfSmallOnes) {
  const auto values = uniform(1031, 1, -90, 90);
  Buffer x(DType::f32, values), small(DType::f32, {1e-6, -3e-4, 0.0});
  std::vector<double> expected;
  for (const double v : x.values()) expected.push_back(30 * std::tanh(v / 30));

  ops::softcap({}, x.f32(), 30.0F, 1031);
  ops::softcap({}, small.f32(), 30.0F, 3);

  EXPECT_TRUE(all_close(x.values(), expected, tolerance_for(DType::f32)));
  EXPECT_NEAR(small.values()[0], 1e-6, 1e-12);
  EXPECT_NEAR(small.values()[1], -3e-4, 1e-10);
  EXPECT_EQ(small.values()[2], 0.0);
}

INSTANTIATE_TEST_SUITE_P(Cpu, Softcap, every_isa(), name_of_case);

}  // namespace
}  // namespace dstrain::test::dropout_test
