// SPDX-License-Identifier: Apache-2.0
/// AdamW and sums of squares: hand-made numbers -> reference -> cpu on every instruction set, and torch's own bits.
#include <cmath>
#include <fstream>
#include <sstream>
#include <tuple>

#include "core/error.hpp"
#include "kernels/ops/optimizer.hpp"
#include "kernels/reference/optimizer.hpp"
#include "support/random.hpp"
#include "support/tolerance.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain::test::optimizer_test {
namespace {

const std::int64_t counts[] = {1, 7, 16, 1031, 40000};
constexpr AdamWParameters usual{
    .lr = 1e-2, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1, .step = 3, .gradient_scale = 0.5};

TEST(AdamWReference, FirstStepMovesByTheLearningRate) {
  double p = 1, m = 0, v = 0;
  const double gradient = 4;

  reference::adamw(
      &p, &m, &v, &gradient, 1,
      {.lr = 0.1, .beta1 = 0.9, .beta2 = 0.99, .eps = 0, .weight_decay = 0.1, .step = 1, .gradient_scale = 0.125});

  EXPECT_NEAR(m, 0.05, 1e-15);
  EXPECT_NEAR(v, 0.0025, 1e-15);
  EXPECT_NEAR(p, 1 - 0.01 - 0.1, 1e-12);  // decay, then lr * sign(gradient)
}

class AdamW : public KernelTest {};

TEST_P(AdamW, MatchesReferenceAndWritesTheComputeCopy) {
  for (const std::int64_t count : counts) {
    for (const double beta1 : {0.9, 0.3}) {
      SCOPED_TRACE(testing::Message() << count << " beta1 " << beta1);
      AdamWParameters parameters = usual;
      parameters.beta1 = beta1;
      Buffer p(DType::f32, uniform(count, 1)), m(DType::f32, uniform(count, 2)), v(DType::f32, uniform(count, 3, 0, 1)),
          copy(DType::bf16, count);
      const Buffer gradient(DType::f32, uniform(count, 4));
      auto p_expected = p.values(), m_expected = m.values(), v_expected = v.values();
      reference::adamw(p_expected.data(), m_expected.data(), v_expected.data(), gradient.values().data(), count,
                       parameters);
      Buffer p_alone = p, m_alone = m, v_alone = v;

      ops::adamw({}, p.f32(), m.f32(), v.f32(), gradient.f32(), copy.data(), count, parameters);
      ops::adamw({}, p_alone.f32(), m_alone.f32(), v_alone.f32(), gradient.f32(), {}, count, parameters);

      EXPECT_TRUE(all_close(p.values(), p_expected, tolerance_for(DType::f32)));
      EXPECT_TRUE(all_close(m.values(), m_expected, tolerance_for(DType::f32)));
      EXPECT_TRUE(all_close(v.values(), v_expected, tolerance_for(DType::f32)));
      EXPECT_EQ(copy.bits(), Buffer(DType::bf16, p.values()).bits());
      EXPECT_EQ(p_alone.bits(), p.bits());
    }
  }
}

TEST_P(AdamW, GivesTheSameBitsForAnyThreads) {
  constexpr std::int64_t count = 100'003;
  const Buffer gradient(DType::f32, uniform(count, 4));
  expect_same_for_any_threads([&] {
    Buffer p(DType::f32, uniform(count, 1)), m(DType::f32, uniform(count, 2)), v(DType::f32, uniform(count, 3, 0, 1)),
        copy(DType::bf16, count);
    ops::adamw({}, p.f32(), m.f32(), v.f32(), gradient.f32(), copy.data(), count, usual);
    return std::tuple(p.bits(), m.bits(), v.bits(), copy.bits());
  });
}

TEST_P(AdamW, RefusesAComputeCopyThatIsNotBfloat16) {
  Buffer p(DType::f32, 2), m(DType::f32, 2), v(DType::f32, 2), copy(DType::f32, 2);

  EXPECT_THROW(ops::adamw({}, p.f32(), m.f32(), v.f32(), m.f32(), copy.data(), 2, usual), ShapeError);
}

/// Five steps of torch.optim.AdamW (tests/oracle/make_adamw.py). Each row of the file: step, index, gradient, and what
/// torch has after it: parameter, exp_avg, exp_avg_sq; floats as hexadecimal bits.
TEST_P(AdamW, FollowsTorchToTheLastBits) {
  std::ifstream file(std::string(DSTRAIN_SOURCE_DIR) + "/tests/oracle/adamw_torch.txt");
  ASSERT_TRUE(file.good());
  std::vector<float> p, m, v, gradient;
  std::string line;
  std::int64_t step = 0, differing = 0, compared = 0;
  const auto read_float = [](std::istringstream& in) {
    std::uint32_t bits = 0;
    in >> std::hex >> bits >> std::dec;
    return std::bit_cast<float>(bits);
  };
  std::vector<float> p_torch, m_torch, v_torch;
  const auto finish_step = [&] {
    if (step == 0) {
      p = p_torch, m = m_torch, v = v_torch;
    } else {
      const auto count = static_cast<std::int64_t>(p.size());
      ASSERT_EQ(p_torch.size(), p.size());
      ops::adamw({}, p.data(), m.data(), v.data(), gradient.data(), {}, count,
                 {.lr = 1e-3,
                  .beta1 = 0.9,
                  .beta2 = 0.999,
                  .eps = 1e-8,
                  .weight_decay = 0.01,
                  .step = step,
                  .gradient_scale = 1});
      for (std::size_t i = 0; i < p.size(); ++i) {
        ++compared;
        const bool same = p[i] == p_torch[i] && m[i] == m_torch[i] && v[i] == v_torch[i];
        differing += same ? 0 : 1;
        EXPECT_NEAR(p[i], p_torch[i], 2e-7 * std::abs(p_torch[i]) + 1e-10) << "step " << step << " element " << i;
        EXPECT_NEAR(m[i], m_torch[i], 3e-7 * std::abs(m_torch[i]) + 1e-10) << "step " << step << " element " << i;
        EXPECT_NEAR(v[i], v_torch[i], 3e-7 * std::abs(v_torch[i]) + 1e-12) << "step " << step << " element " << i;
      }
    }
    gradient.clear(), p_torch.clear(), m_torch.clear(), v_torch.clear();
  };
  while (std::getline(file, line)) {
    if (line.starts_with("#")) continue;
    std::istringstream in(line);
    std::int64_t row_step = 0;
    in >> row_step;
    if (row_step != step) finish_step(), step = row_step;
    gradient.push_back(read_float(in));
    p_torch.push_back(read_float(in));
    m_torch.push_back(read_float(in));
    v_torch.push_back(read_float(in));
    ASSERT_FALSE(in.fail()) << line;
  }
  finish_step();
  EXPECT_EQ(step, 5);
  EXPECT_EQ(compared, 5 * 67);
  // torch's own kernels fuse the same multiply-adds; without fused ones (baseline) only the tolerances above hold.
  if (GetParam().isa != cpu::Isa::baseline) {
    EXPECT_EQ(differing, 0) << "of " << compared;
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, AdamW, every_isa(), name_of_case);

class SumOfSquares : public KernelTest {};

TEST_P(SumOfSquares, MatchesAPlainSumPerChunk) {
  for (const std::int64_t count : counts) {
    for (const std::int64_t chunk : {std::int64_t{1}, std::int64_t{100}, std::int64_t{4096}, count}) {
      const Buffer x(DType::f32, uniform(count, 1));
      const auto values = x.values();
      const std::int64_t chunks = (count + chunk - 1) / chunk;
      std::vector<double> expected(chunks), out(chunks + 1, -1.0);
      for (std::int64_t i = 0; i < count; ++i) expected[i / chunk] += values[i] * values[i];

      ops::sum_of_squares({}, out.data(), x.f32(), count, chunk);

      EXPECT_EQ(out.back(), -1.0);
      out.pop_back();
      EXPECT_TRUE(all_close(out, expected, {1e-12, 0})) << count << " in chunks of " << chunk;
    }
  }
}

TEST_P(SumOfSquares, GivesTheSameBitsOnEveryInstructionSetAndAnyThreads) {
  constexpr std::int64_t count = 100'003, chunk = 9001;
  const Buffer x(DType::f32, uniform(count, 1));
  const auto run = [&] {
    std::vector<double> out((count + chunk - 1) / chunk);
    ops::sum_of_squares({}, out.data(), x.f32(), count, chunk);
    return out;
  };
  expect_same_for_any_threads(run);
  const auto here = run();
  cpu::cap_isa(cpu::Isa::baseline);
  EXPECT_EQ(here, run());
}

TEST_P(SumOfSquares, RefusesEmptyChunks) {
  double out = 0;
  const float x = 1;
  EXPECT_THROW(ops::sum_of_squares({}, &out, &x, 1, 0), ShapeError);
}

INSTANTIATE_TEST_SUITE_P(Cpu, SumOfSquares, every_isa(), name_of_case);

}  // namespace
}  // namespace dstrain::test::optimizer_test
