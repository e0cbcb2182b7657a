// SPDX-License-Identifier: Apache-2.0
/// Biases: hand-made numbers -> reference -> cpu on every instruction set.
#include "kernels/reference/bias.hpp"
#include "kernels/ops/matmul.hpp"
#include "support/random.hpp"
#include "support/tolerance.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain::test::bias_test {
namespace {

struct Size {
  std::int64_t T, N, ld;
};
// One element, off the vector width, wider than N, more columns than a strip, more rows than a block.
const Size sizes[] = {{1, 1, 1}, {3, 7, 9}, {2, 1031, 1031}, {200, 33, 40}};

TEST(BiasReference, GivesHandMadeNumbers) {
  double y[] = {1, 2, 9, 3, 4, 9}, db[] = {10, 20};
  const double bias[] = {5, 6};

  reference::bias_backward(db, y, 2, 2, 3, true);
  reference::add_bias(y, bias, 2, 2, 3);

  EXPECT_EQ(std::vector<double>(db, db + 2), (std::vector<double>{14, 26}));
  EXPECT_EQ(std::vector<double>(y, y + 6), (std::vector<double>{6, 8, 9, 8, 10, 9}));
}

class Bias : public KernelTest {};

TEST_P(Bias, MatchesReference) {
  for (const auto [T, N, ld] : sizes) {
    for (const bool accumulate : {false, true}) {
      SCOPED_TRACE(testing::Message() << T << " x " << N << " accumulate " << accumulate);
      const Buffer bias(dtype(), uniform(N, 1)), dy(dtype(), uniform(T * ld, 2));
      Buffer y(dtype(), uniform(T * ld, 3)), db(DType::f32, uniform(N, 4));
      auto y_expected = y.values(), db_expected = db.values();
      reference::add_bias(y_expected.data(), bias.values().data(), T, N, ld);
      reference::bias_backward(db_expected.data(), dy.values().data(), T, N, ld, accumulate);

      ops::add_bias({}, y.data(), bias.data(), T, N, ld);
      ops::bias_backward({}, db.f32(), dy.data(), T, N, ld, accumulate);

      EXPECT_TRUE(all_close(y.values(), y_expected, tolerance_for(dtype())));
      EXPECT_TRUE(all_close(db.values(), db_expected, tolerance_for(DType::f32, T)));
    }
  }
}

TEST_P(Bias, OfAProductIsTheProductsAndTheBias) {
  for (const auto [T, N, ld] : sizes) {
    constexpr std::int64_t K = 24;
    const MatmulShape shape{.M = T, .N = N, .K = K, .transpose_b = true, .ldc = ld};
    const Buffer x(dtype(), uniform(T * K, 1)), w(dtype(), uniform(N * K, 2)), bias(dtype(), uniform(N, 3));
    Buffer y(dtype(), uniform(T * ld, 4)), expected = y;
    const std::int64_t bytes = ops::matmul_workspace_bytes(shape, dtype(), dtype());
    std::vector<char> workspace(static_cast<std::size_t>(bytes + 64));
    const auto aligned = (reinterpret_cast<std::uintptr_t>(workspace.data()) + 63) / 64 * 64;
    const Exec exec{{}, reinterpret_cast<void*>(aligned), bytes};
    ops::matmul(exec, expected.data(), x.data(), w.data(), shape, false);
    ops::add_bias(exec, expected.data(), bias.data(), T, N, ld);

    ops::matmul_bias(exec, y.data(), x.data(), w.data(), bias.data(), shape);

    EXPECT_TRUE(all_close(y.values(), expected.values(), tolerance_for(dtype(), K))) << T << " x " << N;
  }
}

TEST_P(Bias, GivesTheSameBitsForAnyThreads) {
  constexpr std::int64_t T = 300, N = 1031;
  const Buffer bias(dtype(), uniform(N, 1)), dy(dtype(), uniform(T * N, 2));
  expect_same_for_any_threads([&] {
    Buffer y = dy, db(DType::f32, uniform(N, 4));
    ops::add_bias({}, y.data(), bias.data(), T, N, N);
    ops::bias_backward({}, db.f32(), dy.data(), T, N, N, true);
    return std::pair(y.bits(), db.bits());
  });
}

INSTANTIATE_TEST_SUITE_P(Cpu, Bias, every_isa_and_dtype(), name_of_case);

}  // namespace
}  // namespace dstrain::test::bias_test
