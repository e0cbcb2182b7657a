// SPDX-License-Identifier: Apache-2.0
/// Activations: hand-made numbers and finite differences -> reference -> cpu on every instruction set.
#include <cmath>
#include <numeric>
#include <tuple>

#include "core/error.hpp"
#include "kernels/ops/activation.hpp"
#include "kernels/reference/activation.hpp"
#include "support/random.hpp"
#include "support/tolerance.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain::test::activation_test {
namespace {

constexpr Activation kinds[] = {Activation::silu, Activation::gelu, Activation::gelu_tanh, Activation::relu};
struct Size {
  std::int64_t T, F;
};
const Size sizes[] = {{1, 1}, {3, 7}, {2, 1031}, {5, 64}, {40, 37}};

/// Calls test(shape) for every kind, with and without a gate.
template <typename Test>
void for_shapes(const Test& test) {
  for (const Activation kind : kinds) {
    for (const bool gated : {true, false}) {
      for (const auto [T, F] : sizes) {
        SCOPED_TRACE(testing::Message() << "kind " << static_cast<int>(kind) << " gated " << gated << ' ' << T << " x "
                                        << F);
        test(ActivationShape{T, F, kind, gated});
      }
    }
  }
}

std::int64_t count_of(ActivationShape s) { return s.T * s.F * (s.gated ? 2 : 1); }

TEST(ActivationReference, GivesHandMadeNumbers) {
  const double ln3 = std::log(3.0);

  EXPECT_NEAR(reference::activation_at(Activation::silu, ln3).value, ln3 * 0.75, 1e-15);
  EXPECT_NEAR(reference::activation_at(Activation::gelu, 1.0).value, 0.8413447460685429, 1e-15);
  EXPECT_NEAR(reference::activation_at(Activation::gelu_tanh, 1.0).value, 0.8411919906082768, 1e-15);
  EXPECT_EQ(reference::activation_at(Activation::relu, -2.0).value, 0.0);
  EXPECT_EQ(reference::activation_at(Activation::relu, 2.0).value, 2.0);
}

TEST(ActivationReference, BackwardMatchesFiniteDifferences) {
  for (const Activation kind : kinds) {
    for (const bool gated : {true, false}) {
      const ActivationShape s{3, 7, kind, gated};
      const auto x = uniform(count_of(s), 1, -4, 4), dh = uniform(s.T * s.F, 2);
      const auto loss = [&](const std::vector<double>& v) {
        std::vector<double> h(dh.size());
        reference::activation_forward(h.data(), v.data(), s);
        return std::inner_product(h.begin(), h.end(), dh.begin(), 0.0);
      };
      std::vector<double> gradient(x.size());

      reference::activation_backward(gradient.data(), dh.data(), x.data(), s);

      expect_gradient(loss, x, gradient, 1e-6);
    }
  }
}

class ActivationOp : public KernelTest {};

TEST_P(ActivationOp, MatchesReferenceForwardAndBackwardAlsoInPlace) {
  for_shapes([](ActivationShape s) {
    const Buffer x(dtype(), uniform(count_of(s), 1, -12, 12)), dh(dtype(), uniform(s.T * s.F, 2));
    Buffer h(dtype(), s.T * s.F), gradient(dtype(), count_of(s)), over = x;
    std::vector<double> h_expected(s.T * s.F), gradient_expected(count_of(s));
    reference::activation_forward(h_expected.data(), x.values().data(), s);
    reference::activation_backward(gradient_expected.data(), dh.values().data(), x.values().data(), s);

    ops::activation_forward({}, h.data(), x.data(), s);
    ops::activation_backward({}, gradient.data(), dh.data(), x.data(), s);
    ops::activation_backward({}, over.data(), dh.data(), over.data(), s);

    EXPECT_TRUE(all_close(h.values(), h_expected, tolerance_for(dtype())));
    EXPECT_TRUE(all_close(gradient.values(), gradient_expected, tolerance_for(dtype())));
    EXPECT_EQ(over.bits(), gradient.bits());
  });
}

TEST_P(ActivationOp, StaysFiniteAtTheEndsAndKeepsNaN) {
  for (const Activation kind : kinds) {
    SCOPED_TRACE(static_cast<int>(kind));
    const ActivationShape s{1, 5, kind};
    const Buffer x(dtype(), {-1e4, -89, 89, 1e4, std::nan(""), 1, 1, 1, 1, 1}), dh(dtype(), 5, 1);
    Buffer h(dtype(), 5), gradient(dtype(), 10);

    ops::activation_forward({}, h.data(), x.data(), s);
    ops::activation_backward({}, gradient.data(), dh.data(), x.data(), s);

    const auto h_values = h.values(), slopes = gradient.values();
    for (const int i : {0, 1}) EXPECT_NEAR(h_values[i], 0, 1e-35);
    for (const int i : {2, 3}) EXPECT_EQ(h_values[i], x.values()[i]);
    EXPECT_TRUE(std::isnan(h_values[4]));
    for (const int i : {0, 1}) EXPECT_NEAR(slopes[i], 0, 1e-35);
    for (const int i : {2, 3}) EXPECT_EQ(slopes[i], 1);
    EXPECT_EQ(std::isnan(slopes[4]), kind != Activation::relu);
  }
}

TEST_P(ActivationOp, GivesTheSameBitsForAnyThreads) {
  const ActivationShape s{67, 1031, Activation::gelu_tanh};
  const Buffer x(dtype(), uniform(count_of(s), 1, -4, 4)), dh(dtype(), uniform(s.T * s.F, 2));
  expect_same_for_any_threads([&] {
    Buffer h(dtype(), s.T * s.F), gradient(dtype(), count_of(s));
    ops::activation_forward({}, h.data(), x.data(), s);
    ops::activation_backward({}, gradient.data(), dh.data(), x.data(), s);
    return std::tuple(h.bits(), gradient.bits());
  });
}

TEST_P(ActivationOp, TakesOneStorageTypeOfTwo) {
  Buffer h(DType::f32, 1);
  const Buffer x(DType::bf16, 2);

  EXPECT_THROW(ops::activation_forward({}, h.data(), x.data(), {1, 1}), ShapeError);
}

INSTANTIATE_TEST_SUITE_P(Cpu, ActivationOp, every_isa_and_dtype(), name_of_case);

}  // namespace
}  // namespace dstrain::test::activation_test
