// SPDX-License-Identifier: Apache-2.0
/// The matrix product against its definition: all layouts, dtypes, instruction sets and bf16 units; the bits do not
/// depend on threads or tiles.
#include <gtest/gtest.h>

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "kernels/cpu/bf16_products.hpp"
#include "kernels/cpu/simd/isa.hpp"
#include "kernels/ops.hpp"
#include "kernels/reference/matmul.hpp"
#include "support/random.hpp"
#include "support/tolerance.hpp"
#include "unit/kernels/kernel_case.hpp"
#include "unit/kernels/matmul_case.hpp"

namespace dstrain {
namespace {

using test::on_device;

using test::all_close;
using test::expected_product;
using test::Matrix;
using test::run;
using test::scaled_a;
using test::stored_a;
using test::stored_b;
using test::stored_c;
using test::Threads;
using test::tolerance_for;
using test::uniform;
using test::Unit;

struct Dtypes {
  DType a_b;
  DType c;
};

using Case = std::tuple<cpu::Isa, cpu::Bf16Products, int>;  // dtypes by index

constexpr Dtypes dtypes[] = {{DType::f32, DType::f32},
                             {DType::bf16, DType::f32},
                             {DType::bf16, DType::bf16},
                             {DType::f16, DType::f32},
                             {DType::f16, DType::f16}};

class Matmul : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (std::get<0>(GetParam()) > cpu::detected_isa())
      GTEST_SKIP() << "skipped: this CPU has no " << cpu::name_of(std::get<0>(GetParam()));
    if (!cpu::can_run(std::get<1>(GetParam()))) GTEST_SKIP() << "skipped: this CPU has no such bf16 product";
  }
};

/// Sizes off every tile and vector, one element, several blocks of k and of rows, the few rows of generation.
const MatmulShape sizes[] = {
    {1, 1, 1},      {3, 5, 7},       {8, 48, 16},   {9, 49, 17},     {64, 288, 96}, {33, 100, 65},
    {17, 31, 1100}, {70, 200, 2051}, {300, 50, 37}, {1, 130, 257},   {2, 97, 64},   {5, 64, 1025},
    {16, 33, 130},  {40, 7, 3},      {13, 1, 29},   {128, 384, 130},
};

TEST_P(Matmul, AgreesWithTheDefinitionInAllLayouts) {
  const auto [isa, products, which] = GetParam();
  const Unit unit(isa, products);
  const Threads one(1);
  const Dtypes d = dtypes[which];
  for (MatmulShape s : sizes) {
    for (int layout = 0; layout < 4; ++layout) {
      s.transpose_a = (layout & 1) != 0;
      s.transpose_b = (layout & 2) != 0;
      Matrix a(d.a_b, scaled_a(s)), b(d.a_b, uniform(stored_b(s), 2)), c(d.c, uniform(stored_c(s), 3));

      run(c, a, b, s, false);

      EXPECT_TRUE(all_close(c.values(), expected_product(a, b, s), tolerance_for(d.c, s.K)))
          << s.M << "x" << s.N << "x" << s.K << " layout " << layout;
    }
  }
}

TEST_P(Matmul, AddsToWhatIsThereAndKeepsToItsStrides) {
  const auto [isa, products, which] = GetParam();
  const Unit unit(isa, products);
  const Threads one(1);
  const Dtypes d = dtypes[which];
  const bool accumulate = d.c == DType::f32;
  for (MatmulShape s : {MatmulShape{19, 53, 41}, MatmulShape{70, 101, 1200}, MatmulShape{3, 20, 64}}) {
    for (int layout = 0; layout < 4; ++layout) {
      s.transpose_a = (layout & 1) != 0;
      s.transpose_b = (layout & 2) != 0;
      s.lda = (s.transpose_a ? s.M : s.K) + 5;
      s.ldb = (s.transpose_b ? s.K : s.N) + 3;
      s.ldc = s.N + 7;
      Matrix a(d.a_b, scaled_a(s)), b(d.a_b, uniform(stored_b(s), 2)), c(d.c, uniform(stored_c(s), 3));
      std::vector<double> expected = c.values();
      reference::matmul(expected.data(), a.values().data(), b.values().data(), s, accumulate);

      run(c, a, b, s, accumulate);

      EXPECT_TRUE(all_close(c.values(), expected, tolerance_for(d.c, s.K)))
          << s.M << "x" << s.N << "x" << s.K << " layout " << layout;
    }
  }
}

// Small integers: every order of summation gives the same sum, so equality is exact.
TEST_P(Matmul, IsExactWhereTheSumsAre) {
  const auto [isa, products, which] = GetParam();
  const Unit unit(isa, products);
  const Threads one(1);
  const Dtypes d = dtypes[which];
  const int bound = d.c == DType::f32 ? 8 : 1;  // sums that are stored in 16 bits stay below 257
  const MatmulShape s{65, 130, d.c == DType::f32 ? 1500 : 200, false, true};
  Matrix a(d.a_b, test::small_integers<double>(stored_a(s), 1, bound)),
      b(d.a_b, test::small_integers<double>(stored_b(s), 2, bound));
  Matrix c(d.c, std::vector<double>(static_cast<std::size_t>(stored_c(s)), 9.0));
  std::vector<double> expected(static_cast<std::size_t>(stored_c(s)));
  reference::matmul(expected.data(), a.values().data(), b.values().data(), s, false);

  run(c, a, b, s, false);

  EXPECT_EQ(c.values(), expected);
}

TEST_P(Matmul, GivesTheSameBitsOnAnyNumberOfThreads) {
  const auto [isa, products, which] = GetParam();
  const Unit unit(isa, products);
  const Dtypes d = dtypes[which];
  for (MatmulShape s : {MatmulShape{128, 300, 700}, MatmulShape{2, 500, 129}, MatmulShape{600, 96, 1300}}) {
    for (int layout = 0; layout < 4; ++layout) {
      s.transpose_a = (layout & 1) != 0;
      s.transpose_b = (layout & 2) != 0;
      Matrix a(d.a_b, uniform(stored_a(s), 1)), b(d.a_b, uniform(stored_b(s), 2));
      std::vector<std::vector<double>> results;
      for (const int threads : {1, 2, 3}) {
        const Threads use(threads);
        Matrix c(d.c, std::vector<double>(static_cast<std::size_t>(stored_c(s))));
        run(c, a, b, s, false);
        results.push_back(c.values());
      }
      for (const auto& result : results) EXPECT_EQ(result, results.front()) << s.M << " layout " << layout;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(F32, Matmul,
                         testing::Combine(testing::Values(cpu::Isa::baseline, cpu::Isa::avx2, cpu::Isa::avx512),
                                          testing::Values(cpu::Bf16Products::convert), testing::Values(0)));
INSTANTIATE_TEST_SUITE_P(F16, Matmul,
                         testing::Combine(testing::Values(cpu::Isa::baseline, cpu::Isa::avx2, cpu::Isa::avx512),
                                          testing::Values(cpu::Bf16Products::convert), testing::Values(3, 4)));
INSTANTIATE_TEST_SUITE_P(Bf16Converted, Matmul,
                         testing::Combine(testing::Values(cpu::Isa::baseline, cpu::Isa::avx2, cpu::Isa::avx512),
                                          testing::Values(cpu::Bf16Products::convert), testing::Values(1, 2)));
INSTANTIATE_TEST_SUITE_P(Bf16Units, Matmul,
                         testing::Combine(testing::Values(cpu::Isa::avx512),
                                          testing::Values(cpu::Bf16Products::pairs, cpu::Bf16Products::onednn),
                                          testing::Values(1, 2)));

// Also run with each value of DSTRAIN_BF16_GEMM and with oneDNN held at AVX2, where it has no bf16 product.
TEST(Bf16Unit, FollowsTheEnvironmentAndTheCpu) {
  const char* wanted = std::getenv("DSTRAIN_BF16_GEMM");
  const cpu::Bf16Products unit = cpu::bf16_products();
  ASSERT_TRUE(cpu::can_run(unit));
  if (wanted != nullptr) {
    const std::string name = wanted;
    // A unit that the CPU does not have is not taken.
    for (const auto& [unit_name, named] :
         {std::pair("convert", cpu::Bf16Products::convert), std::pair("pairs", cpu::Bf16Products::pairs),
          std::pair("onednn", cpu::Bf16Products::onednn)}) {
      if (name != unit_name) continue;
      EXPECT_EQ(unit == named, cpu::can_run(named));
    }
  }
  if (const char* held = std::getenv("ONEDNN_MAX_CPU_ISA"); held != nullptr && std::string(held) == "AVX2") {
    EXPECT_FALSE(cpu::can_run(cpu::Bf16Products::onednn));
  }
  const MatmulShape s{70, 60, 90, false, true};
  Matrix a(DType::bf16, scaled_a(s)), b(DType::bf16, uniform(stored_b(s), 2)), c(DType::f32, uniform(stored_c(s), 3));
  std::vector<double> expected(static_cast<std::size_t>(stored_c(s)));
  reference::matmul(expected.data(), a.values().data(), b.values().data(), s, false);

  run(c, a, b, s, false);

  EXPECT_TRUE(all_close(c.values(), expected, tolerance_for(DType::f32, s.K)));
}

// The bits of a row depend on K alone: more rows, other tiles and a wider output change nothing.
TEST(MatmulCalls, GiveARowTheSameBitsInEveryShape) {
  const MatmulShape large{150, 200, 1100, false, true};
  MatmulShape small{40, 77, 1100, false, true};
  small.ldc = 200;
  Matrix a(DType::f32, uniform(stored_a(large), 1)), b(DType::f32, uniform(stored_b(large), 2));
  Matrix all(DType::f32, std::vector<double>(static_cast<std::size_t>(stored_c(large)))),
      some(DType::f32, all.values());

  run(all, a, b, large, false);
  run(some, a, b, small, false);

  for (std::size_t m = 0; m < 40; ++m) {
    for (std::size_t n = 0; n < 77; ++n) ASSERT_EQ(all.f32[m * 200 + n], some.f32[m * 200 + n]) << m << ", " << n;
  }
}

// A workspace planned for all threads serves a call inside a parallel region, which runs on one.
TEST(MatmulCalls, WorkInsideAParallelRegion) {
  const Threads use(2);
  const MatmulShape s{64, 64, 64, false, true};
  Matrix a(DType::f32, uniform(stored_a(s), 1)), b(DType::f32, uniform(stored_b(s), 2));
  std::vector<double> expected(static_cast<std::size_t>(stored_c(s)));
  reference::matmul(expected.data(), a.values().data(), b.values().data(), s, false);
  const std::int64_t bytes = ops::matmul_workspace_bytes(s, DType::f32, DType::f32);
  std::vector<Matrix> c(2, Matrix(DType::f32, expected));
  std::vector<std::vector<float>> workspaces(2, std::vector<float>(static_cast<std::size_t>(bytes / 4 + 1)));

#pragma omp parallel for num_threads(2)
  for (std::size_t i = 0; i < 2; ++i) {
    std::fill(c[i].f32.begin(), c[i].f32.end(), 0.0F);
    ops::matmul({{}, workspaces[i].data(), bytes}, c[i].data(), a.data(), b.data(), s, false);
  }

  for (Matrix& result : c) EXPECT_TRUE(all_close(result.values(), expected, tolerance_for(DType::f32, s.K)));
}

TEST(MatmulCalls, WithNothingToSumWriteZeros) {
  for (const std::int64_t rows : {2, 40}) {
    const MatmulShape s{rows, 3, 0, false, true};
    Matrix a(DType::f32, {}), b(DType::f32, {}),
        c(DType::f32, std::vector<double>(static_cast<std::size_t>(rows) * 3, 5.0));
    run(c, a, b, s, false);
    EXPECT_EQ(c.values(), std::vector<double>(static_cast<std::size_t>(rows) * 3, 0.0));
  }
}

TEST(MatmulCalls, ThatCannotBeRightAreRefused) {
  std::vector<float> x(64);
  const MatmulShape s{64, 4, 4, false, false};
  const Data f{x.data(), DType::f32}, h{x.data(), DType::bf16}, half{x.data(), DType::f16},
      short_{x.data(), DType::i16};
  EXPECT_THROW(ops::matmul({}, f, f, h, s, false), ShapeError);
  EXPECT_THROW(ops::matmul({}, short_, short_, short_, s, false), ShapeError);
  EXPECT_THROW(ops::matmul({}, h, half, half, s, false), ShapeError);
  EXPECT_THROW(ops::matmul({}, h, h, half, s, false), ShapeError);
  EXPECT_THROW(ops::matmul({}, h, f, f, s, false), ShapeError);
  EXPECT_THROW(ops::matmul({}, h, h, h, s, true), ShapeError);
  EXPECT_THROW(ops::matmul({}, f, f, f, {4, 4, 4, false, false, 3}, false), ShapeError);
  EXPECT_THROW(ops::matmul({}, f, f, f, {4, -4, 4}, false), ShapeError);
  if (on_device) return;  // not every product needs a workspace there
  EXPECT_THROW(ops::matmul({}, f, f, f, s, false), ShapeError) << "no workspace";
}

}  // namespace
}  // namespace dstrain
