// SPDX-License-Identifier: Apache-2.0
#include "core/dtype.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/view.hpp"

namespace dstrain {
namespace {

TEST(DType, NamesAndSizesAreThoseOfSafetensors) {
  EXPECT_EQ(name_of(DType::bf16), "bf16");
  EXPECT_EQ(name_of(DType::boolean), "bool");
  EXPECT_EQ(size_of(DType::i16), 2U);
  EXPECT_EQ(size_of(DType::f64), 8U);
  EXPECT_EQ(size_of(DType::boolean), 1U);
}

TEST(Bfloat16, RoundsToNearestEven) {
  EXPECT_EQ(bfloat16(1.0F).bits, 0x3f80);
  EXPECT_EQ(bfloat16(1.0F + 0x1p-8F).bits, 0x3f80);             // half way: to even
  EXPECT_EQ(bfloat16(1.0F + 0x1p-7F + 0x1p-8F).bits, 0x3f82);   // half way: to even, upwards
  EXPECT_EQ(bfloat16(1.0F + 0x1p-8F + 0x1p-20F).bits, 0x3f81);  // above half way
  EXPECT_EQ(bfloat16(std::numeric_limits<float>::max()).bits, 0x7f80);
  EXPECT_TRUE(std::isnan(static_cast<float>(bfloat16(std::nanf("")))));
  EXPECT_EQ(static_cast<float>(bfloat16(-2.5F)), -2.5F);
}

// Every half is sign * mantissa * 2^exponent by the IEEE formula.
TEST(HalfToFloat, IsExactForAllValues) {
  for (std::uint32_t bits = 0; bits < 65'536; ++bits) {
    const float sign = (bits & 0x8000U) != 0 ? -1.0F : 1.0F;
    const int exponent = static_cast<int>((bits >> 10) & 0x1fU);
    const auto mantissa = static_cast<float>(bits & 0x3ffU);
    const float value = half_to_float(static_cast<std::uint16_t>(bits));
    if (exponent == 31) {
      EXPECT_TRUE(mantissa == 0 ? std::isinf(value) && std::signbit(value) == (sign < 0) : std::isnan(value)) << bits;
    } else if (exponent == 0) {
      EXPECT_EQ(value, sign * std::ldexp(mantissa, -24)) << bits;
    } else {
      EXPECT_EQ(value, sign * std::ldexp(1024.0F + mantissa, exponent - 25)) << bits;
    }
  }
}

// Every half, every float between two halves on both sides of the middle, and the middles themselves.
TEST(HalfFromFloat, RoundsToNearestEven) {
  for (std::uint32_t bits = 0; bits < 0x7c00U; ++bits) {
    const auto low = static_cast<std::uint16_t>(bits);
    const auto high = static_cast<std::uint16_t>(bits + 1);
    const float value = half_to_float(low);
    const float next = high == 0x7c00U ? 65'536.0F : half_to_float(high);
    const float middle = (value + next) / 2;
    ASSERT_EQ(half_from_float(value), low);
    ASSERT_EQ(half_from_float(-value), low | 0x8000U);
    ASSERT_EQ(half_from_float(middle), (bits & 1U) == 0 ? low : high);
    ASSERT_EQ(half_from_float(std::nextafter(middle, 0.0F)), low);
    ASSERT_EQ(half_from_float(std::nextafter(middle, 1e9F)), high);
  }
  EXPECT_EQ(half_from_float(1e9F), 0x7c00U);
  EXPECT_EQ(half_from_float(-std::numeric_limits<float>::infinity()), 0xfc00U);
  EXPECT_TRUE(std::isnan(half_to_float(half_from_float(std::nanf("")))));
  EXPECT_EQ(static_cast<float>(float16(-2.5F)), -2.5F);
}

TEST(View, SlicesByElements) {
  float values[4] = {0, 1, 2, 3};
  const View view{std::span<float>(values)};

  EXPECT_EQ(view.bytes(), 16);
  EXPECT_EQ(*view.slice(2, 1).as<float>(), 2.0F);
  EXPECT_EQ(ConstView(std::span<const float>(values)).slice(1, 3).count, 3);
  EXPECT_EQ(ConstView(std::span<const float>(values)).dtype, DType::f32);
}

}  // namespace
}  // namespace dstrain
