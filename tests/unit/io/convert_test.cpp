// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors/convert.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "unit/io/io_test_support.hpp"

namespace dstrain {
namespace {

bool is_nan_half(unsigned bits) { return (bits & 0x7fffU) > 0x7c00U; }

TEST(HalfFromFloat, GivesBackEveryHalf) {
  for (unsigned bits = 0; bits < 0x10000U; ++bits) {
    const auto back = half_from_float(half_to_float(static_cast<std::uint16_t>(bits)));
    if (is_nan_half(bits)) {
      EXPECT_TRUE(is_nan_half(back)) << bits;
    } else {
      EXPECT_EQ(back, bits);
    }
  }
}

// The nearest of the two neighbours, and the even one exactly between them, over all gaps between halfs.
TEST(HalfFromFloat, RoundsToNearestEvenBetweenAllNeighbours) {
  for (unsigned bits = 0; bits < 0x7bffU; ++bits) {
    const float low = half_to_float(static_cast<std::uint16_t>(bits));
    const float high = half_to_float(static_cast<std::uint16_t>(bits + 1));
    const float middle = low + (high - low) / 2;  // exact: halfs have 13 bits less than floats
    EXPECT_EQ(half_from_float(middle), bits + (bits & 1U)) << bits;
    EXPECT_EQ(half_from_float(std::nextafter(middle, 0.0F)), bits) << bits;
    EXPECT_EQ(half_from_float(std::nextafter(middle, 1e9F)), bits + 1) << bits;
    EXPECT_EQ(half_from_float(-middle), 0x8000U | (bits + (bits & 1U))) << bits;
  }
}

TEST(HalfFromFloat, OverflowsToInfinityFromHalfAStepBeyondTheLargest) {
  EXPECT_EQ(half_from_float(65519.996F), 0x7bffU);
  EXPECT_EQ(half_from_float(65520.0F), 0x7c00U);
  EXPECT_EQ(half_from_float(-1e30F), 0xfc00U);
  EXPECT_EQ(half_from_float(std::numeric_limits<float>::infinity()), 0x7c00U);
  EXPECT_EQ(half_from_float(std::numeric_limits<float>::denorm_min()), 0U);
}

TEST(Convert, UnalignedBytesOfEveryTypeComeBack) {
  const std::vector<float> values{0.0F, -1.5F, 3.25F, 100.0F, -0.0F};
  for (const auto dtype : {DType::f64, DType::f32, DType::f16, DType::bf16}) {
    std::vector<char> bytes(values.size() * size_of(dtype) + 1);
    std::vector<float> back(values.size(), 7.0F);

    convert_from_f32(bytes.data() + 1, dtype, values.data(), 5);
    convert_to_f32(back.data(), bytes.data() + 1, dtype, 5);

    EXPECT_EQ(std::memcmp(back.data(), values.data(), values.size() * sizeof(float)), 0) << name_of(dtype);
  }
}

TEST(Convert, RefusesWhatIsNoFloatingType) {
  float value = 0;
  EXPECT_ERROR(convert_to_f32(&value, &value, DType::i32, 1), "i32 is not a floating type");
  EXPECT_ERROR(convert_from_f32(&value, DType::u8, &value, 1), "u8 is not a floating type");
}

}  // namespace
}  // namespace dstrain
