// SPDX-License-Identifier: Apache-2.0
/// 8-bit states: bitsandbytes' values, the nearest of them, and updates as in f32 from what the codes stand for.
#include "kernels/ops/optimizer_8bit.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <fstream>
#include <tuple>

#include "support/random.hpp"
#include "support/tolerance.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain::test::optimizer_8bit_test {
namespace {

TEST(DynamicMap, IsThatOfBitsandbytes) {
  std::ifstream file(std::string(DSTRAIN_SOURCE_DIR) + "/tests/oracle/dynamic_maps.txt");
  ASSERT_TRUE(file.good());
  for (const bool is_signed : {true, false}) {
    for (std::size_t i = 0; i < 256; ++i) {
      std::uint32_t bits = 0;
      file >> std::hex >> bits;
      EXPECT_EQ(dynamic_map(is_signed)[i], std::bit_cast<float>(bits)) << is_signed << " " << i;
    }
  }
}

/// Codes and scales of one state.
struct State {
  std::vector<std::uint8_t> code;
  std::vector<float> absmax;

  explicit State(std::int64_t count)
      : code(static_cast<std::size_t>(count)),
        absmax(static_cast<std::size_t>((count + state_block - 1) / state_block)) {}
  [[nodiscard]] QuantisedState pointers() { return {code.data(), absmax.data()}; }
  [[nodiscard]] std::vector<float> values(bool is_signed) const {
    std::vector<float> all(code.size());
    for (std::size_t i = 0; i < all.size(); ++i)
      all[i] = dynamic_map(is_signed)[code[i]] * absmax[i / static_cast<std::size_t>(state_block)];
    return all;
  }
};

/// The state is the nearest representable one to `exact`, block by block.
void expect_nearest(const State& state, const std::vector<float>& exact, bool is_signed) {
  const auto& map = dynamic_map(is_signed);
  for (std::size_t begin = 0; begin < exact.size(); begin += 256) {
    const std::size_t end = std::min(exact.size(), begin + 256);
    float top = 0;
    for (std::size_t i = begin; i < end; ++i) top = std::max(top, std::abs(exact[i]));
    ASSERT_EQ(state.absmax[begin / 256], top);
    for (std::size_t i = begin; i < end; ++i) {
      const float x = top > 0 ? exact[i] * (1.0F / top) : 0.0F;
      float best = 1e9F;
      for (const float value : map) best = std::min(best, std::abs(value - x));
      ASSERT_LE(std::abs(map[state.code[i]] - x), best * 1.000001F + 1e-9F) << "element " << i;
    }
  }
}

/// As near as 8 bits come: half a step of the map's widest decade, relative to the block's greatest value.
void expect_close_to(const State& state, const std::vector<float>& exact, bool is_signed) {
  const auto values = state.values(is_signed);
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const float top = state.absmax[i / 256];
    ASSERT_LE(std::abs(values[i] - exact[i]), 0.0075F * top) << "element " << i;
    ASSERT_LE(std::abs(exact[i]), top * 1.000001F);
  }
}

class Optimizer8Bit : public KernelTest {
 protected:
  static UpdateParameters parameters(std::int64_t step) {
    UpdateParameters p;
    p.lr = 1e-2;
    p.weight_decay = 0.1;
    p.step = step;
    p.gradient_scale = 0.5;
    return p;
  }
};

TEST_P(Optimizer8Bit, UpdatesAsInF32AndKeepsTheNearestCodes) {
  for (const std::int64_t count : {1, 255, 256, 1031, 40'000}) {
    SCOPED_TRACE(count);
    Buffer w(DType::f32, uniform(count, 1)), copy(dtype() == DType::f32 ? DType::bf16 : dtype(), count);
    State m(count), v(count);
    for (std::int64_t step = 1; step <= 3; ++step) {
      const Buffer g(DType::f32, uniform(count, 10 + step));
      Buffer w32 = w;
      std::vector<float> m32 = m.values(true), v32 = v.values(false);
      ops::update({}, UpdateRule::adamw, {w32.f32(), g.f32(), {m32.data(), v32.data(), nullptr}, {}}, count,
                  parameters(step));

      ops::adamw_8bit({}, w.f32(), m.pointers(), v.pointers(), g.f32(), copy.data(), count, parameters(step));

      EXPECT_TRUE(all_close(w.values(), w32.values(), tolerance_for(DType::f32)));
      EXPECT_EQ(copy.bits(), Buffer(dtype() == DType::f32 ? DType::bf16 : dtype(), w.values()).bits());
      expect_close_to(m, m32, true);
      expect_close_to(v, v32, false);
    }
  }
}

TEST_P(Optimizer8Bit, LionStepsByTheSign) {
  constexpr std::int64_t count = 1031;
  Buffer w(DType::f32, uniform(count, 1));
  const auto before = w.values();
  const Buffer g(DType::f32, uniform(count, 2));
  State m(count);
  auto p = parameters(1);
  p.weight_decay = 0;

  ops::lion_8bit({}, w.f32(), m.pointers(), g.f32(), {}, count, p);

  const auto after = w.values(), gradient = g.values();
  for (std::size_t i = 0; i < after.size(); ++i)
    ASSERT_NEAR(before[i] - after[i], gradient[i] > 0 ? p.lr : -p.lr, 1e-6) << i;
  std::vector<float> exact(gradient.size());
  for (std::size_t i = 0; i < exact.size(); ++i)
    exact[i] = static_cast<float>(1.0 - p.beta2) * (static_cast<float>(gradient[i]) * 0.5F);
  expect_nearest(m, exact, true);
}

TEST_P(Optimizer8Bit, ABlockOfZerosStaysZero) {
  constexpr std::int64_t count = 512;
  Buffer w(DType::f32, count, 1.0), g(DType::f32, count, 0.0);
  State m(count), v(count);
  auto p = parameters(1);
  p.weight_decay = 0;

  ops::adamw_8bit({}, w.f32(), m.pointers(), v.pointers(), g.f32(), {}, count, p);

  EXPECT_EQ(w.values(), std::vector<double>(count, 1.0));
  for (const float x : m.values(true)) ASSERT_EQ(x, 0.0F);
  for (const float x : v.values(false)) ASSERT_EQ(x, 0.0F);
}

TEST_P(Optimizer8Bit, GivesTheSameBitsForAnyThreads) {
  constexpr std::int64_t count = 100'003;
  const Buffer g(DType::f32, uniform(count, 4));
  expect_same_for_any_threads([&] {
    Buffer w(DType::f32, uniform(count, 1));
    State m(count), v(count);
    ops::adamw_8bit({}, w.f32(), m.pointers(), v.pointers(), g.f32(), {}, count, parameters(1));
    return std::tuple(w.bits(), m.code, m.absmax, v.code, v.absmax);
  });
}

INSTANTIATE_TEST_SUITE_P(Cpu, Optimizer8Bit, every_isa_and_dtype(), name_of_case);

}  // namespace
}  // namespace dstrain::test::optimizer_8bit_test
