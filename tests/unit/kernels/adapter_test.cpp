// SPDX-License-Identifier: Apache-2.0
/// Operations of adapters: hand-made numbers -> reference -> cpu.
#include <cmath>
#include <numeric>

#include "core/error.hpp"
#include "kernels/ops/adapter.hpp"
#include "kernels/reference/adapter.hpp"
#include "support/random.hpp"
#include "support/tolerance.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain::test::adapter_test {
namespace {

struct Size {
  std::int64_t rows, columns, stride;
};
const Size sizes[] = {{1, 1, 1}, {3, 7, 9}, {2, 1031, 1031}, {40, 37, 64}, {70, 300, 300}};

std::vector<float> factors_of(std::int64_t n) {
  const auto values = uniform(n, 9);
  return {values.begin(), values.end()};
}

TEST(AdapterReference, GivesHandMadeNumbers) {
  const double w[] = {3, 0}, a[] = {1, 1}, b[] = {4};
  double norm = 0, dots[] = {1}, x[] = {1, 2, 3, 4};
  const float factor[] = {2, 0.5F};

  reference::updated_row_norms(&norm, w, a, b, 0.5F, 1, 2, 1);   // row 3 + 2, 0 + 2
  reference::column_dots(dots, x, x, factor, 2, 1, 2, 2, true);  // 1 + 2 (1 1 + 3 3)
  reference::scale_columns(x, factor, 2, 2, 2);

  EXPECT_DOUBLE_EQ(norm, std::sqrt(29.0));
  EXPECT_DOUBLE_EQ(dots[0], 21);
  EXPECT_EQ(std::vector<double>(x, x + 4), (std::vector<double>{2, 1, 6, 2}));
}

class Adapter : public KernelTest {};

TEST_P(Adapter, ColumnsMatchReference) {
  for (const auto [T, N, ld] : sizes) {
    SCOPED_TRACE(testing::Message() << T << " x " << N << " of " << ld);
    const auto factor = factors_of(N);
    const Buffer a(dtype(), uniform(T * ld, 1)), b(dtype(), uniform(T * ld, 2));
    Buffer scaled = a, added = a, dots(DType::f32, N, 1.0);
    auto scaled_expected = a.values(), added_expected = a.values(), dots_expected = std::vector<double>(N, 1.0);
    reference::scale_columns(scaled_expected.data(), factor.data(), T, N, ld);
    reference::add_columns(added_expected.data(), b.values().data(), T, N, ld, ld);
    reference::column_dots(dots_expected.data(), a.values().data(), b.values().data(), factor.data(), T, N, ld, ld,
                           true);

    ops::scale_columns({}, scaled.data(), factor.data(), T, N, ld);
    ops::add_columns({}, added.data(), b.data(), T, N, ld, ld);
    ops::column_dots({}, dots.f32(), a.data(), b.data(), factor.data(), T, N, ld, ld, true);

    EXPECT_TRUE(all_close(scaled.values(), scaled_expected, tolerance_for(dtype())));
    EXPECT_TRUE(all_close(added.values(), added_expected, tolerance_for(dtype())));
    EXPECT_TRUE(all_close(dots.values(), dots_expected, tolerance_for(DType::f32, T)));
  }
}

TEST_P(Adapter, DropoutMatchesReferenceAndItsRate) {
  for (const auto [T, N, ld] : sizes) {
    (void)ld;
    const DropoutMask mask{Rng(7, RngSite::dropout, 3, 5), 0.25F, 11};
    const Buffer x(dtype(), uniform(T * N, 1)), before(dtype(), uniform(T * N, 2));
    Buffer y(dtype(), T * N), sum = before;
    std::vector<double> y_expected(T * N), sum_expected = before.values();
    reference::dropout(y_expected.data(), x.values().data(), T, N, mask, false);
    reference::dropout(sum_expected.data(), x.values().data(), T, N, mask, true);

    ops::dropout({}, y.data(), x.data(), T, N, mask, false);
    ops::dropout({}, sum.data(), x.data(), T, N, mask, true);

    EXPECT_TRUE(all_close(y.values(), y_expected, tolerance_for(dtype())));
    EXPECT_TRUE(all_close(sum.values(), sum_expected, tolerance_for(dtype())));
    if (T * N < 10000) continue;
    const auto values = y.values();
    const auto dropped = static_cast<double>(std::count(values.begin(), values.end(), 0.0));
    EXPECT_NEAR(dropped / static_cast<double>(T * N), 0.25, 0.02);
  }
}

// Rows of a later piece are masked as they would be in the whole.
TEST_P(Adapter, DropoutOfAPieceIsThatOfTheWhole) {
  const std::int64_t T = 9, N = 5;
  const Buffer x(dtype(), uniform(T * N, 1));
  Buffer whole(dtype(), T * N), pieces(dtype(), T * N);
  const Rng rng(7, RngSite::dropout, 3, 5);

  ops::dropout({}, whole.data(), x.data(), T, N, {rng, 0.5F, 0}, false);
  ops::dropout({}, pieces.data(), x.data(), 4, N, {rng, 0.5F, 0}, false);
  ops::dropout({}, pieces.data().at(4 * N), x.data().at(4 * N), T - 4, N, {rng, 0.5F, 4}, false);

  EXPECT_EQ(whole.bits(), pieces.bits());
}

TEST_P(Adapter, RowNormsMatchReference) {
  for (const auto [out, in, rank] : {Size{1, 1, 1}, Size{7, 33, 2}, Size{40, 1031, 8}}) {
    const Buffer w(dtype(), uniform(out * in, 1)), a(dtype(), uniform(rank * in, 2)),
        b(dtype(), uniform(out * rank, 3));
    Buffer norm(DType::f32, out);
    std::vector<double> expected(out);
    reference::updated_row_norms(expected.data(), w.values().data(), a.values().data(), b.values().data(), 1.5F, out,
                                 in, rank);

    ops::updated_row_norms({}, norm.f32(), w.data(), a.data(), b.data(), 1.5F, out, in, rank);

    EXPECT_TRUE(all_close(norm.values(), expected, tolerance_for(DType::f32, in)));
  }
}

TEST_P(Adapter, NormsOfTransposedMatricesMatchReference) {
  for (const auto [out, in, rank] : {Size{1, 1, 1}, Size{7, 33, 2}, Size{33, 40, 3}, Size{131, 64, 8}}) {
    const Buffer w(dtype(), uniform(out * in, 1)), a(dtype(), uniform(rank * in, 2)),
        b(dtype(), uniform(out * rank, 3));
    Buffer norm(DType::f32, out);
    std::vector<double> expected(out);
    reference::updated_row_norms(expected.data(), w.values().data(), a.values().data(), b.values().data(), 1.5F, out,
                                 in, rank, true);

    ops::updated_row_norms({}, norm.f32(), w.data(), a.data(), b.data(), 1.5F, out, in, rank, true);

    EXPECT_TRUE(all_close(norm.values(), expected, tolerance_for(DType::f32, in)));
  }
}

TEST_P(Adapter, GatheredColumnsMatchReferenceForwardAndBack) {
  const std::int32_t ids[] = {4, 0, 4, 10, 4, 7};
  const std::int64_t T = 6, R = 3, V = 11;
  const Buffer a(dtype(), uniform(R * V, 1)), dy(dtype(), uniform(T * R, 2));
  Buffer y(dtype(), T * R), da(DType::f32, uniform(R * V, 3));
  std::vector<double> expected(T * R), gradient(da.values());
  reference::gather_columns(expected.data(), a.values().data(), ids, T, R, V);

  ops::gather_columns({}, y.data(), a.data(), ids, T, R, V);

  EXPECT_EQ(y.values(), expected);
  for (const bool accumulate : {true, false}) {
    reference::gather_columns_backward(gradient.data(), dy.values().data(), ids, T, R, V, accumulate);

    ops::gather_columns_backward({}, da.f32(), dy.data(), ids, T, R, V, accumulate);

    EXPECT_TRUE(all_close(da.values(), gradient, tolerance_for(DType::f32, T)));
  }
}

TEST_P(Adapter, NoiseMatchesReferenceAndStaysInside) {
  const std::int64_t count = 30011;
  const Rng rng(1, RngSite::neftune, 0, 4);
  Buffer x(dtype(), count);
  std::vector<double> expected(count, 0.0);
  reference::add_uniform_noise(expected.data(), count, 0.5F, rng);

  ops::add_uniform_noise({}, x.data(), count, 0.5F, rng);

  const auto values = x.values();
  EXPECT_TRUE(all_close(values, expected, tolerance_for(dtype())));
  EXPECT_LE(*std::max_element(values.begin(), values.end()), 0.5);
  EXPECT_GE(*std::min_element(values.begin(), values.end()), -0.5);
  EXPECT_NEAR(std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(count), 0.0, 0.01);
}

TEST_P(Adapter, ThreadsChangeNoBit) {
  const std::int64_t T = 600, N = 513;
  const auto factor = factors_of(N);
  const Buffer a(dtype(), uniform(T * N, 1)), b(dtype(), uniform(T * N, 2));
  expect_same_for_any_threads([&] {
    Buffer dots(DType::f32, N), dropped(dtype(), T * N);
    ops::column_dots({}, dots.f32(), a.data(), b.data(), factor.data(), T, N, N, N, false);
    ops::dropout({}, dropped.data(), a.data(), T, N, {Rng(1, RngSite::dropout, 0, 0), 0.1F, 0}, false);
    return std::pair(dots.bits(), dropped.bits());
  });
}

TEST(AdapterErrors, ARateOfOneIsRefused) {
  Buffer x(DType::f32, 4);
  EXPECT_THROW(ops::dropout({}, x.data(), x.data(), 2, 2, {Rng(1, RngSite::dropout, 0, 0), 1.0F, 0}, false),
               ShapeError);
}

TEST_P(Adapter, ABlockTakesOneFactorAndLeavesItsNeighbours) {
  for (const auto [T, N, ld] : sizes) {
    SCOPED_TRACE(testing::Message() << T << " x " << N << " of " << ld);
    Buffer x(dtype(), uniform(T * ld, 1));
    auto expected = x.values();
    for (std::int64_t i = 0; i < T * ld; ++i) {
      if (i % ld < N) expected[static_cast<std::size_t>(i)] *= 0.375;
    }
    const Buffer rounded(dtype(), expected);

    ops::scale_block({}, x.data(), 0.375F, T, N, ld);

    EXPECT_EQ(x.bits(), rounded.bits());
  }
}

TEST_P(Adapter, MagnitudesBecomeFactors) {
  Buffer inverse(DType::f32, {2.0, 0.5}), factor(DType::f32, {3.0, 4.0}), shifted(DType::f32, 2);

  ops::magnitude_factors({}, inverse.f32(), factor.f32(), shifted.f32(), 2);

  EXPECT_EQ(inverse.values(), (std::vector<double>{0.5, 2.0}));
  EXPECT_EQ(factor.values(), (std::vector<double>{1.5, 8.0}));
  EXPECT_EQ(shifted.values(), (std::vector<double>{0.5, 7.0}));
}

INSTANTIATE_TEST_SUITE_P(Storage, Adapter,
                         testing::Values(KernelCase{cpu::Isa::baseline, DType::f32},
                                         KernelCase{cpu::Isa::baseline, DType::bf16}),
                         name_of_case);

}  // namespace
}  // namespace dstrain::test::adapter_test
