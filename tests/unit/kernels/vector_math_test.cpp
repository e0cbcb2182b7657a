// SPDX-License-Identifier: Apache-2.0
/// The choice of the instruction set, and the vectorised exponential on each of them.
#include <cmath>
#include <cstdlib>
#include <limits>

#include "kernels/cpu/simd/functions.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain::cpu {
namespace {
constexpr IsaTables<VectorMathFunctions> tables = DSTRAIN_ISA_TABLES(vector_math);
}
}  // namespace dstrain::cpu

namespace dstrain::test::vector_math_test {
namespace {

// ctest runs this one with DSTRAIN_CPU_ISA unset, with each known value and with an unknown one.
TEST(IsaChoice, FollowsTheEnvironmentUpToWhatTheMachineHas) {
  const char* wanted = std::getenv("DSTRAIN_CPU_ISA");
  cpu::Isa expected = cpu::detected_isa();
  for (const auto isa : {cpu::Isa::baseline, cpu::Isa::avx2, cpu::Isa::avx512}) {
    if (wanted != nullptr && cpu::name_of(isa) == wanted && isa < expected) expected = isa;
  }

  EXPECT_EQ(cpu::name_of(cpu::isa()), cpu::name_of(expected));
}

TEST(IsaChoice, CapNeverGoesAboveTheMachine) {
  cpu::cap_isa(cpu::Isa::baseline);
  EXPECT_EQ(cpu::isa(), cpu::Isa::baseline);
  cpu::cap_isa(cpu::Isa::avx512);
  EXPECT_EQ(cpu::isa(), cpu::detected_isa());
}

class Exponential : public KernelTest {};

/// Distance of `value` from the exact result in units of the float nearest to it.
double error_in_ulp(float value, double exact) {
  const auto nearest = static_cast<float>(exact);
  const double ulp = std::nextafter(nearest, std::numeric_limits<float>::infinity()) - static_cast<double>(nearest);
  return std::abs(value - exact) / ulp;
}

TEST_P(Exponential, IsWithinTwoUlpOverTheWholeRange) {
  constexpr std::int64_t count = 2'000'003;
  std::vector<float> x(count), y(count);
  for (std::int64_t i = 0; i < count; ++i)
    x[i] = static_cast<float>(-103.5 + (88.7 + 103.5) * static_cast<double>(i) / count);

  cpu::tables.get().exp(y.data(), x.data(), count);

  double worst = 0;
  float at = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const double error = error_in_ulp(y[i], std::exp(static_cast<double>(x[i])));
    if (error > worst) worst = error, at = x[i];
  }
  EXPECT_LT(worst, 2.0) << "at " << at;
  RecordProperty("worst_ulp_times_1000", static_cast<int>(worst * 1000));
}

TEST_P(Exponential, KeepsTheEnds) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> x = {
      0.0F, -0.0F, inf, -inf, std::nanf(""), 88.9F, 1e30F, -105.0F, -1e30F, 1e-30F, -std::numeric_limits<float>::max()};
  std::vector<float> y(x.size());

  cpu::tables.get().exp(y.data(), x.data(), static_cast<std::int64_t>(x.size()));

  EXPECT_EQ(y[0], 1);
  EXPECT_EQ(y[1], 1);
  EXPECT_EQ(y[2], inf);
  EXPECT_EQ(y[3], 0);
  EXPECT_TRUE(std::isnan(y[4]));
  EXPECT_EQ(y[5], inf);
  EXPECT_EQ(y[6], inf);
  EXPECT_EQ(y[7], 0);
  EXPECT_EQ(y[8], 0);
  EXPECT_EQ(y[9], 1);
  EXPECT_EQ(y[10], 0);
}

INSTANTIATE_TEST_SUITE_P(Cpu, Exponential, every_isa(), name_of_case);

}  // namespace
}  // namespace dstrain::test::vector_math_test
