// SPDX-License-Identifier: Apache-2.0
/// Softmax cross entropy: hand-made numbers and finite differences -> reference -> cpu on every instruction set.
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>

#include "core/error.hpp"
#include "kernels/ops/cross_entropy.hpp"
#include "kernels/reference/cross_entropy.hpp"
#include "support/random.hpp"
#include "support/tolerance.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain::test::cross_entropy_test {
namespace {

struct Size {
  std::int64_t T, V, ld;
};
// One logit, rows shorter than a vector, off the unrolled step, wider than V, and a real vocabulary.
const Size sizes[] = {{1, 1, 1}, {3, 7, 7}, {4, 131, 140}, {2, 1031, 1031}, {3, 256, 256}, {2, 32003, 32003}};

std::vector<std::int32_t> some_targets(std::int64_t T, std::int64_t V) {
  std::vector<std::int32_t> target(static_cast<std::size_t>(T));
  for (std::int64_t t = 0; t < T; ++t)
    target[t] = t % 3 == 1 ? -100 : static_cast<std::int32_t>((t * 7919 + V - 1) % V);
  return target;
}

TEST(CrossEntropyReference, GivesHandMadeNumbers) {
  const double logits[] = {0, std::log(3.0), 5, 5}, weight[] = {2, 1};
  const std::int32_t target[] = {1, -100};
  double nll[2], gradient[4];

  reference::cross_entropy(gradient, nll, logits, target, weight, 2, 2, 2);

  EXPECT_NEAR(nll[0], -std::log(0.75), 1e-15);
  EXPECT_EQ(nll[1], 0);
  EXPECT_NEAR(gradient[0], 0.5, 1e-15);
  EXPECT_NEAR(gradient[1], -0.5, 1e-15);
  EXPECT_EQ(gradient[2], 0);
  EXPECT_EQ(gradient[3], 0);
}

TEST(CrossEntropyReference, GradientMatchesFiniteDifferences) {
  constexpr std::int64_t T = 4, V = 13;
  const auto logits = uniform(T * V, 1, -3, 3), weight = uniform(T, 2, 0.1, 1);
  const auto target = some_targets(T, V);
  const auto loss = [&](const std::vector<double>& v) {
    std::vector<double> nll(T);
    reference::cross_entropy<double>(nullptr, nll.data(), v.data(), target.data(), weight.data(), T, V, V);
    return std::inner_product(nll.begin(), nll.end(), weight.begin(), 0.0);
  };
  std::vector<double> nll(T), gradient(T * V);

  reference::cross_entropy(gradient.data(), nll.data(), logits.data(), target.data(), weight.data(), T, V, V);

  expect_gradient(loss, logits, gradient, 1e-6);
}

// transformers' LabelSmoother on two logits: 0.9 * -log(3/4) + 0.1 * (-log(3/4) - log(1/4)) / 2.
TEST(CrossEntropyReference, SmoothsLabels) {
  const double logits[] = {0, std::log(3.0)}, weight[] = {1};
  const std::int32_t target[] = {1};
  double loss[1], gradient[2];

  reference::cross_entropy(gradient, loss, logits, target, weight, 1, 2, 2, 0.0, TokenLoss{.label_smoothing = 0.125F});

  EXPECT_NEAR(loss[0], -0.875 * std::log(0.75) - 0.125 * (std::log(0.75) + std::log(0.25)) / 2, 1e-15);
  EXPECT_NEAR(gradient[0], 0.25 - 0.0625, 1e-15);
  EXPECT_NEAR(gradient[1], 0.75 - 0.875 - 0.0625, 1e-15);
}

// p log p with the first p a constant; and an entropy of two equal logits.
TEST(CrossEntropyReference, MultipliesByConstants) {
  const double logits[] = {0, std::log(3.0)}, equal[] = {1, 1}, weight[] = {1};
  const std::int32_t target[] = {1};
  double loss[1], gradient[2];

  reference::cross_entropy(gradient, loss, logits, target, weight, 1, 2, 2, 0.0, TokenLoss{.times_probability = true});

  EXPECT_NEAR(loss[0], -0.75 * std::log(0.75), 1e-15);
  EXPECT_NEAR(gradient[0], 0.75 * 0.25, 1e-15);
  EXPECT_NEAR(gradient[1], 0.75 * -0.25, 1e-15);

  reference::cross_entropy(gradient, loss, equal, target, weight, 1, 2, 2, 0.0,
                           TokenLoss{.times_entropy = true, .entropy_power = 2.0F});

  const double factor = std::log(2.0) / 3 * (std::log(2.0) / 3);
  EXPECT_NEAR(loss[0], factor * std::log(2.0), 1e-15);
  EXPECT_NEAR(gradient[0], factor * 0.5, 1e-15);
}

TEST(CrossEntropyReference, GradientOfSmoothedLabelsMatchesFiniteDifferences) {
  constexpr std::int64_t T = 4, V = 13;
  const TokenLoss token_loss{.label_smoothing = 0.3F};
  const auto logits = uniform(T * V, 1, -3, 3), weight = uniform(T, 2, 0.1, 1);
  const auto target = some_targets(T, V);
  const auto loss = [&](const std::vector<double>& v) {
    std::vector<double> each(T);
    reference::cross_entropy<double>(nullptr, each.data(), v.data(), target.data(), weight.data(), T, V, V, 0.0,
                                     token_loss);
    return std::inner_product(each.begin(), each.end(), weight.begin(), 0.0);
  };
  std::vector<double> each(T), gradient(T * V);

  reference::cross_entropy(gradient.data(), each.data(), logits.data(), target.data(), weight.data(), T, V, V, 0.0,
                           token_loss);

  expect_gradient(loss, logits, gradient, 1e-6);
}

/// The dtype of a case is that of the gradient; logits are always f32.
class CrossEntropy : public KernelTest {};

TEST_P(CrossEntropy, MatchesReferenceForOtherLosses) {
  const TokenLoss losses[] = {{.label_smoothing = 0.1F},
                              {.label_smoothing = 1.0F},
                              {.times_probability = true},
                              {.times_entropy = true},
                              {.times_entropy = true, .entropy_power = 0.5F}};
  for (const auto [T, V, ld] : sizes) {
    for (const TokenLoss& loss : losses) {
      for (const double cap : {0.0, 5.0}) {
        SCOPED_TRACE(testing::Message() << T << " x " << V << " smoothing " << loss.label_smoothing << " cap " << cap);
        const Buffer logits(DType::f32, uniform(T * ld, 1, -4.9, 4.9)), weight(DType::f32, uniform(T, 2, 0.1, 1));
        const auto target = some_targets(T, V);
        Buffer each(DType::f32, T), gradient(dtype(), T * ld, 0.5), alone(DType::f32, T);
        std::vector<double> each_expected(T), expected(T * ld, 0.5);
        reference::cross_entropy(expected.data(), each_expected.data(), logits.values().data(), target.data(),
                                 weight.values().data(), T, V, ld, cap, loss);

        const auto softcap = static_cast<float>(cap);
        ops::cross_entropy({}, gradient.data(), each.f32(), logits.f32(), target.data(), weight.f32(), T, V, ld,
                           softcap, loss);
        ops::cross_entropy({}, {}, alone.f32(), logits.f32(), target.data(), nullptr, T, V, ld, softcap, loss);

        EXPECT_TRUE(all_close(each.values(), each_expected, tolerance_for(DType::f32, V)));
        EXPECT_TRUE(all_close(gradient.values(), expected, tolerance_for(dtype())));
        EXPECT_EQ(alone.bits(), each.bits());
      }
    }
  }
}

TEST_P(CrossEntropy, MatchesReference) {
  for (const auto [T, V, ld] : sizes) {
    SCOPED_TRACE(testing::Message() << T << " x " << V);
    const Buffer logits(DType::f32, uniform(T * ld, 1, -9, 9)), weight(DType::f32, uniform(T, 2, 0.1, 1));
    const auto target = some_targets(T, V);
    Buffer nll(DType::f32, T), gradient(dtype(), T * ld, 0.5), nll_alone(DType::f32, T);
    std::vector<double> nll_expected(T), gradient_expected(T * ld, 0.5);
    reference::cross_entropy(gradient_expected.data(), nll_expected.data(), logits.values().data(), target.data(),
                             weight.values().data(), T, V, ld);

    ops::cross_entropy({}, gradient.data(), nll.f32(), logits.f32(), target.data(), weight.f32(), T, V, ld);
    ops::cross_entropy({}, {}, nll_alone.f32(), logits.f32(), target.data(), nullptr, T, V, ld);

    EXPECT_TRUE(all_close(nll.values(), nll_expected, tolerance_for(DType::f32, V)));
    EXPECT_TRUE(all_close(gradient.values(), gradient_expected,
                          tolerance_for(dtype())));  // with the columns behind V untouched
    EXPECT_EQ(nll_alone.bits(), nll.bits());
  }
}

TEST_P(CrossEntropy, CarriesTheGradientThroughASoftCap) {
  constexpr double cap = 5;
  for (const auto [T, V, ld] : sizes) {
    const Buffer logits(DType::f32, uniform(T * ld, 1, -4.9, 4.9)), weight(DType::f32, uniform(T, 2, 0.1, 1));
    const auto target = some_targets(T, V);
    Buffer nll(DType::f32, T), gradient(dtype(), T * ld, 0.5);
    std::vector<double> nll_expected(T), expected(T * ld, 0.5);
    reference::cross_entropy(expected.data(), nll_expected.data(), logits.values().data(), target.data(),
                             weight.values().data(), T, V, ld, cap);

    ops::cross_entropy({}, gradient.data(), nll.f32(), logits.f32(), target.data(), weight.f32(), T, V, ld, 5.0F);

    EXPECT_TRUE(all_close(nll.values(), nll_expected, tolerance_for(DType::f32, V)));
    EXPECT_TRUE(all_close(gradient.values(), expected, tolerance_for(dtype())));
  }
}

// d nll / dz through cap tanh(z / cap), by central differences.
TEST(CrossEntropyReference, GradientOfASoftCapMatchesFiniteDifferences) {
  constexpr std::int64_t T = 2, V = 5;
  constexpr double cap = 3;
  const auto z = uniform(T * V, 1, -4, 4), weight = uniform(T, 2, 0.1, 1);
  const std::int32_t target[] = {1, 4};
  std::vector<double> logits(T * V), nll(T), gradient(T * V);
  const auto loss = [&](const std::vector<double>& values) {
    for (std::size_t i = 0; i < values.size(); ++i) logits[i] = cap * std::tanh(values[i] / cap);
    reference::cross_entropy<double>(nullptr, nll.data(), logits.data(), target, weight.data(), T, V, V, cap);
    return weight[0] * nll[0] + weight[1] * nll[1];
  };
  (void)loss(z);

  reference::cross_entropy(gradient.data(), nll.data(), logits.data(), target, weight.data(), T, V, V, cap);

  expect_gradient(loss, z, gradient, 1e-6);
}

TEST_P(CrossEntropy, GradientsAreRightInRelativeTerms) {
  // Most probabilities of a large vocabulary are far below any absolute tolerance.
  constexpr std::int64_t V = 32003;
  const Buffer logits(DType::f32, uniform(V, 1, -20, 20)), weight(DType::f32, 1, 0.25);
  const std::int32_t target = 4321;
  Buffer nll(DType::f32, 1), gradient(dtype(), V);
  std::vector<double> nll_expected(1), expected(V);
  reference::cross_entropy(expected.data(), nll_expected.data(), logits.values().data(), &target,
                           weight.values().data(), 1, V, V);

  ops::cross_entropy({}, gradient.data(), nll.f32(), logits.f32(), &target, weight.f32(), 1, V, V);

  EXPECT_TRUE(all_close(gradient.values(), expected,
                        {dtype() == DType::f32    ? 3e-6
                         : dtype() == DType::bf16 ? 0x1.02p-8
                                                  : 0x1.02p-11,
                         dtype() == DType::f16 ? 0x1p-25 : 0}));
}

/// f32 only: a bf16 gradient cannot lie over its logits.
class CrossEntropyInPlace : public KernelTest {};

TEST_P(CrossEntropyInPlace, GivesTheBitsOfTwoBuffers) {
  for (const auto [T, V, ld] : sizes) {
    const Buffer logits(DType::f32, uniform(T * ld, 1, -9, 9)), weight(DType::f32, uniform(T, 2, 0.1, 1));
    const auto target = some_targets(T, V);
    Buffer nll(DType::f32, T), gradient = logits, over = logits, nll_over(DType::f32, T);

    ops::cross_entropy({}, gradient.data(), nll.f32(), logits.f32(), target.data(), weight.f32(), T, V, ld);
    ops::cross_entropy({}, over.data(), nll_over.f32(), over.f32(), target.data(), weight.f32(), T, V, ld);

    EXPECT_EQ(over.bits(), gradient.bits());
    EXPECT_EQ(nll_over.bits(), nll.bits());
  }
}

TEST_P(CrossEntropy, SurvivesLargeAndMaskedLogitsAndKeepsNaN) {
  constexpr std::int64_t V = 300;
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> logits(V, -inf);  // whole vectors of masked logits before the first finite one
  logits[250] = 1e4F;
  logits[299] = 1e4F;
  const std::int32_t target = 299;
  const float weight = 1;
  float nll = 0;
  Buffer gradient(dtype(), V);

  ops::cross_entropy({}, gradient.data(), &nll, logits.data(), &target, &weight, 1, V, V);

  EXPECT_NEAR(nll, std::log(2.0), 1e-6);
  EXPECT_EQ(gradient.values()[0], 0);
  EXPECT_EQ(gradient.values()[250], 0.5);
  EXPECT_EQ(gradient.values()[299], -0.5);
  logits[123] = std::nanf("");
  ops::cross_entropy({}, {}, &nll, logits.data(), &target, &weight, 1, V, V);
  EXPECT_TRUE(std::isnan(nll));
}

TEST_P(CrossEntropy, RefusesATargetBehindTheVocabulary) {
  if (on_device) GTEST_SKIP() << "skipped: a GPU's kernels give NaN for it";
  const Buffer logits(DType::f32, 14), weight(DType::f32, 2, 1);
  Buffer gradient(dtype(), 14, 1), nll(DType::f32, 2);
  const std::int32_t target[] = {0, 7};

  EXPECT_THROW(ops::cross_entropy({}, gradient.data(), nll.f32(), logits.f32(), target, weight.f32(), 2, 7, 7),
               ShapeError);
  EXPECT_EQ(gradient.bits(), Buffer(dtype(), 14, 1).bits());
}

TEST_P(CrossEntropy, GivesTheSameBitsForAnyThreads) {
  constexpr std::int64_t T = 37, V = 5003;
  const Buffer logits(DType::f32, uniform(T * V, 1, -9, 9)), weight(DType::f32, uniform(T, 2, 0.1, 1));
  const auto target = some_targets(T, V);
  expect_same_for_any_threads([&] {
    Buffer nll(DType::f32, T), gradient(dtype(), T * V);
    ops::cross_entropy({}, gradient.data(), nll.f32(), logits.f32(), target.data(), weight.f32(), T, V, V);
    return std::tuple(nll.bits(), gradient.bits());
  });
}

INSTANTIATE_TEST_SUITE_P(Cpu, CrossEntropy, every_isa_and_dtype(), name_of_case);
INSTANTIATE_TEST_SUITE_P(Cpu, CrossEntropyInPlace, every_isa(), name_of_case);

}  // namespace
}  // namespace dstrain::test::cross_entropy_test
