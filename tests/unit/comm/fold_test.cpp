// SPDX-License-Identifier: Apache-2.0
#include "comm/fold.hpp"

#include <gtest/gtest.h>
#include <omp.h>

#include <cstring>
#include <limits>

#include "core/error.hpp"
#include "support/random.hpp"

namespace dstrain {
namespace {

// (1e8 + 1) - 1e8 is 0 in float and 1 in exact arithmetic: the order of a left fold shows.
TEST(FoldSum, AddsFromTheLeft) {
  const float a = 1e8F, b = 1.0F, c = -1e8F;
  const void* forward[] = {&a, &b, &c};
  const void* backward[] = {&c, &a, &b};
  float out = 0;

  fold_sum(&out, forward, DType::f32, 1, false);
  EXPECT_EQ(out, 0.0F);
  fold_sum(&out, backward, DType::f32, 1, false);
  EXPECT_EQ(out, 1.0F);
}

TEST(FoldSum, AccumulateBeginsWithTheOutput) {
  const float a = 1e8F, b = -1e8F;
  const void* sources[] = {&a, &b};
  float out = 1.0F;

  fold_sum(&out, sources, DType::f32, 1, true);

  EXPECT_EQ(out, 0.0F);  // (1 + 1e8) - 1e8, not 1 + (1e8 - 1e8)
}

TEST(FoldSum, NoSourcesAreZeroOrNothing) {
  float out[] = {1, 2};
  fold_sum(out, {}, DType::f32, 2, true);
  EXPECT_EQ(out[1], 2.0F);
  fold_sum(out, {}, DType::f32, 2, false);
  EXPECT_EQ(out[1], 0.0F);
}

// A signed zero is a value too: 0 + (-0) would change it.
TEST(FoldSum, OneSourceIsACopy) {
  const float minus_zero = -0.0F;
  const void* sources[] = {&minus_zero};
  float out = 5;

  fold_sum(&out, sources, DType::f32, 1, false);

  EXPECT_TRUE(std::signbit(out));
}

TEST(FoldSum, GivesTheSameBitsForAnyNumberOfThreads) {
  constexpr std::int64_t count = 200'003;
  std::vector<std::vector<bfloat16>> inputs(3);
  for (std::uint32_t s = 0; s < 3; ++s) {
    for (const float v : test::uniform<float>(count, s)) inputs[s].push_back(bfloat16(v));
  }
  const void* sources[] = {inputs[0].data(), inputs[1].data(), inputs[2].data()};
  std::vector<float> want(count), got(count);
  for (std::size_t i = 0; i < count; ++i) {
    want[i] = (static_cast<float>(inputs[0][i]) + static_cast<float>(inputs[1][i])) + static_cast<float>(inputs[2][i]);
  }
  const int kept = omp_get_max_threads();
  for (const int threads : {1, 2, 3}) {
    omp_set_num_threads(threads);
    fold_sum(got.data(), sources, DType::bf16, count, false);
    EXPECT_EQ(std::memcmp(got.data(), want.data(), count * sizeof(float)), 0) << threads << " threads";
  }
  omp_set_num_threads(kept);
}

TEST(FoldSum, TheOutputMayBeASource) {
  auto a = test::small_integers(5000, 1), b = test::small_integers(5000, 2);
  std::vector<float> want(5000);
  for (std::size_t i = 0; i < want.size(); ++i) want[i] = a[i] + b[i];
  const void* sources[] = {a.data(), b.data()};

  fold_sum(b.data(), sources, DType::f32, 5000, false);

  EXPECT_EQ(b, want);
}

TEST(Fold, IntegersWrapInsteadOfBreaking) {
  const std::int32_t most = std::numeric_limits<std::int32_t>::max(), one = 1;
  const void* sources[] = {&most, &one};
  std::int32_t out = 0;

  fold(&out, sources, DType::i32, 1, ReduceOp::sum);

  EXPECT_EQ(out, std::numeric_limits<std::int32_t>::min());
}

TEST(Fold, RefusesTypesItDoesNotKnow) {
  const std::uint8_t byte = 1;
  const void* sources[] = {&byte};
  std::uint8_t out = 0;
  EXPECT_THROW(fold(&out, sources, DType::u8, 1, ReduceOp::sum), ShapeError);
}

TEST(CopyBytes, CopiesAll) {
  const auto from = test::small_integers(300'001, 9);
  std::vector<float> to(from.size());

  copy_bytes(to.data(), from.data(), static_cast<std::int64_t>(from.size() * sizeof(float)));

  EXPECT_EQ(to, from);
}

}  // namespace
}  // namespace dstrain
