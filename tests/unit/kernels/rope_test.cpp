// SPDX-License-Identifier: Apache-2.0
/// Rotary position embedding: hand-made numbers -> reference -> cpu on every instruction set.
#include <cmath>
#include <numeric>

#include "core/error.hpp"
#include "kernels/ops/rope.hpp"
#include "kernels/reference/rope.hpp"
#include "support/random.hpp"
#include "support/tolerance.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain::test::rope_test {
namespace {

// A head of one pair, of sizes off the vector width, of usual sizes; rows with columns that are not rotated.
const RopeShape shapes[] = {{1, 1, 2, 2}, {3, 2, 6, 13}, {5, 3, 48, 200}, {2, 1, 128, 128}, {4, 5, 38, 190}};
// Part of a head; pairs of neighbours, of a part and of all, shorter and longer than two vectors; heads in groups.
const RopeShape partial_shapes[] = {{3, 2, 16, 40, 8, false},        {2, 3, 16, 50, 8, true},
                                    {1, 1, 2, 2, 0, true},           {3, 2, 128, 260, 64, true},
                                    {2, 2, 96, 200, 74, true},       {3, 2, 6, 50, 0, false, 3, 16},
                                    {2, 1, 48, 300, 40, true, 4, 70}};
constexpr std::int64_t positions = 40;

std::vector<std::int32_t> some_positions(std::int64_t T) {
  std::vector<std::int32_t> position_T(static_cast<std::size_t>(T));
  for (std::int64_t t = 0; t < T; ++t) position_T[t] = static_cast<std::int32_t>((t * 17 + 3) % positions);
  return position_T;
}

TEST(RopeReference, TurnsTheHalvesOfAHeadAgainstEachOther) {
  double x[] = {9, 9, 9, 9, 1, 2, 3, 4};                    // the second head is outside
  const double cos[] = {1, 1, 0, 1}, sin[] = {0, 0, 1, 0};  // position 1: a quarter turn of pair 0
  const std::int32_t position[] = {1, 1};

  reference::rope(x + 4, cos, sin, position, {1, 1, 4, 4}, false);

  EXPECT_EQ(std::vector<double>(x, x + 8), (std::vector<double>{9, 9, 9, 9, -3, 2, 1, 4}));
}

TEST(RopeReference, TurnsNeighboursOfTheFirstPartOfAHead) {
  double x[] = {1, 2, 3, 4, 5, 6};
  const double cos[] = {0, 1}, sin[] = {1, 0};  // pair 0 makes a quarter turn
  const std::int32_t position[] = {0};

  reference::rope(x, cos, sin, position, {1, 1, 6, 6, 4, true}, false);

  EXPECT_EQ(std::vector<double>(x, x + 6), (std::vector<double>{-2, 1, 3, 4, 5, 6}));
}

TEST(RopeReference, TurnsTheFirstHeadsOfEachGroup) {
  double x[] = {1, 2, 7, 3, 4, 8};
  const double cos[] = {0}, sin[] = {1};
  const std::int32_t position[] = {0};

  reference::rope(x, cos, sin, position, {1, 1, 2, 6, 0, false, 2, 3}, false);

  EXPECT_EQ(std::vector<double>(x, x + 6), (std::vector<double>{-2, 1, 7, -4, 3, 8}));
}

TEST(RopeReference, InverseIsTheTransposedRotation) {
  // <R x, y> = <x, R^T y> with tables of any norm: what the backward pass needs.
  const RopeShape s{3, 2, 6, 12};
  const auto cos = uniform(positions * 3, 1), sin = uniform(positions * 3, 2), x = uniform(s.T * s.stride, 3),
             y = uniform(s.T * s.stride, 4);
  const auto position = some_positions(s.T);
  auto turned = x, back = y;

  reference::rope(turned.data(), cos.data(), sin.data(), position.data(), s, false);
  reference::rope(back.data(), cos.data(), sin.data(), position.data(), s, true);

  EXPECT_NEAR(std::inner_product(turned.begin(), turned.end(), y.begin(), 0.0),
              std::inner_product(x.begin(), x.end(), back.begin(), 0.0), 1e-12);
}

class Rope : public KernelTest {};

TEST_P(Rope, MatchesReferenceInBothDirections) {
  std::vector<RopeShape> all(std::begin(shapes), std::end(shapes));
  all.insert(all.end(), std::begin(partial_shapes), std::end(partial_shapes));
  for (const RopeShape s : all) {
    for (const bool inverse : {false, true}) {
      SCOPED_TRACE(testing::Message() << s.T << " x " << s.heads << " x " << s.head_dim << " inverse " << inverse);
      const Buffer cos(DType::f32, uniform(positions * s.rotated() / 2, 1)),
          sin(DType::f32, uniform(positions * s.rotated() / 2, 2));
      const auto position = some_positions(s.T);
      Buffer x(dtype(), uniform(s.T * s.stride, 3));
      auto expected = x.values();
      reference::rope(expected.data(), cos.values().data(), sin.values().data(), position.data(), s, inverse);

      ops::rope({}, x.data(), cos.f32(), sin.f32(), position.data(), s, inverse);

      EXPECT_TRUE(all_close(x.values(), expected, tolerance_for(dtype())));
    }
  }
}

TEST_P(Rope, LeavesColumnsBehindTheHeadsAlone) {
  const RopeShape s{3, 2, 6, 13};
  const Buffer table(DType::f32, uniform(positions * 3, 1)), before(dtype(), uniform(s.T * s.stride, 3));
  Buffer x = before;

  ops::rope({}, x.data(), table.f32(), table.f32(), some_positions(s.T).data(), s, false);

  for (std::int64_t t = 0; t < s.T; ++t) EXPECT_EQ(x.values()[t * 13 + 12], before.values()[t * 13 + 12]);
}

TEST_P(Rope, RefusesToTurnMoreThanAHead) {
  Buffer x(dtype(), 4);
  const Buffer table(DType::f32, 4);
  const std::int32_t position[] = {0};

  EXPECT_THROW(ops::rope({}, x.data(), table.f32(), table.f32(), position, {1, 1, 4, 4, 6}, false), ShapeError);
  EXPECT_THROW(ops::rope({}, x.data(), table.f32(), table.f32(), position, {1, 1, 4, 4, 3}, false), ShapeError);
}

TEST_P(Rope, GivesTheSameBitsForAnyThreads) {
  const RopeShape s{201, 5, 38, 191};
  const Buffer table(DType::f32, uniform(positions * 19, 1)), before(dtype(), uniform(s.T * s.stride, 3));
  const auto position = some_positions(s.T);
  expect_same_for_any_threads([&] {
    Buffer x = before;
    ops::rope({}, x.data(), table.f32(), table.f32(), position.data(), s, false);
    return x.bits();
  });
}

INSTANTIATE_TEST_SUITE_P(Cpu, Rope, every_isa_and_dtype(), name_of_case);

TEST(RopeTable, MatchesReferenceAtFarPositions) {
  constexpr std::int64_t count = 70000, half = 24;
  std::vector<float> inv_freq(half), cos(count * half), sin(count * half);
  for (std::int64_t i = 0; i < half; ++i)
    inv_freq[i] = static_cast<float>(std::pow(10000.0, -static_cast<double>(i) / half));
  std::vector<double> cos_expected(cos.size()), sin_expected(sin.size());
  reference::rope_table(cos_expected.data(), sin_expected.data(), inv_freq.data(), count, half, 1.25);

  ops::rope_table({}, cos.data(), sin.data(), inv_freq.data(), count, half, 1.25F);

  EXPECT_TRUE(all_close(cos, cos_expected, tolerance_for(DType::f32)));
  EXPECT_TRUE(all_close(sin, sin_expected, tolerance_for(DType::f32)));
  EXPECT_EQ(cos[0], 1.25F);
  EXPECT_NEAR(sin[half], 1.25 * std::sin(1.0), 1e-7);
}

}  // namespace
}  // namespace dstrain::test::rope_test
