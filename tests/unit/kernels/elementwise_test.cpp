// SPDX-License-Identifier: Apache-2.0
/// Embedding, conversions and sums: hand-made numbers and finite differences -> reference -> cpu.
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>

#include "core/device_runtime.hpp"
#include "core/error.hpp"
#include "kernels/ops/elementwise.hpp"
#include "kernels/reference/elementwise.hpp"
#include "support/random.hpp"
#include "support/tolerance.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain::test::elementwise_test {
namespace {

struct Size {
  std::int64_t rows, columns;
};
const Size sizes[] = {{1, 1}, {3, 7}, {2, 1031}, {5, 64}, {40, 37}};
const std::int64_t counts[] = {1, 7, 16, 31, 1031, 40000};

TEST(EmbeddingReference, SumsRowsOfRepeatedTokens) {
  const std::int32_t ids[] = {2, 0, 2};
  const double table[] = {1, 2, 3, 4, 5, 6}, dy[] = {1, 2, 3, 4, 5, 6};
  double y[6], dtable[] = {1, 1, 1, 1, 1, 1};

  reference::embedding_forward(y, table, ids, 3, 2);
  reference::embedding_backward(dtable, dy, ids, 3, 2, 3, true);

  EXPECT_EQ(std::vector<double>(y, y + 6), (std::vector<double>{5, 6, 1, 2, 5, 6}));
  EXPECT_EQ(std::vector<double>(dtable, dtable + 6), (std::vector<double>{4, 5, 1, 1, 7, 9}));
  reference::embedding_backward(dtable, dy, ids, 3, 2, 3, false);
  EXPECT_EQ(std::vector<double>(dtable, dtable + 6), (std::vector<double>{3, 4, 0, 0, 6, 8}));
}

class Embedding : public KernelTest {};

std::vector<std::int32_t> some_ids(std::int64_t T, std::int64_t V) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(T));
  for (std::int64_t t = 0; t < T; ++t) ids[t] = static_cast<std::int32_t>(t * t % V);  // with repetitions
  return ids;
}

TEST_P(Embedding, MatchesReference) {
  constexpr std::int64_t V = 11;
  for (const auto [T, D] : sizes) {
    SCOPED_TRACE(testing::Message() << T << " x " << D);
    const auto ids = some_ids(T, V);
    const Buffer table(dtype(), uniform(V * D, 1)), dy(dtype(), uniform(T * D, 2)),
        before(DType::f32, uniform(V * D, 3));
    Buffer y(dtype(), T * D), dtable = before, written = before;
    std::vector<double> y_expected(T * D), dtable_expected = before.values(), written_expected(V * D);
    reference::embedding_forward(y_expected.data(), table.values().data(), ids.data(), T, D);
    reference::embedding_backward(dtable_expected.data(), dy.values().data(), ids.data(), T, D, V, true);
    reference::embedding_backward(written_expected.data(), dy.values().data(), ids.data(), T, D, V, false);

    ops::embedding_forward({}, y.data(), table.data(), ids.data(), T, D);
    ops::embedding_backward({}, dtable.f32(), dy.data(), ids.data(), T, D, V, true);
    ops::embedding_backward({}, written.f32(), dy.data(), ids.data(), T, D, V, false);

    EXPECT_EQ(y.values(), y_expected);
    EXPECT_TRUE(all_close(dtable.values(), dtable_expected, tolerance_for(DType::f32, T)));
    EXPECT_TRUE(all_close(written.values(), written_expected, tolerance_for(DType::f32, T)));
  }
}

TEST_P(Embedding, GivesTheSameBitsForAnyThreads) {
  constexpr std::int64_t T = 700, D = 131, V = 30;
  const auto ids = some_ids(T, V);
  const Buffer dy(dtype(), uniform(T * D, 2));
  expect_same_for_any_threads([&] {
    Buffer dtable(DType::f32, V * D, 1);
    ops::embedding_backward({}, dtable.f32(), dy.data(), ids.data(), T, D, V, false);
    return dtable.bits();
  });
}

INSTANTIATE_TEST_SUITE_P(Cpu, Embedding, every_isa_and_dtype(), name_of_case);

class Runs : public KernelTest {};

TEST_P(Runs, ConvertRoundsToNearestEvenAndWidensExactly) {
  const DType other = dtype() == DType::f32 ? DType::bf16 : DType::f32;
  for (const std::int64_t count : counts) {
    const Buffer src(dtype(), uniform(count, 1, -1e3, 1e3)), expected(other, src.values());
    Buffer dst(other, count), copy(dtype(), count);

    ops::convert({}, dst.data(), src.data(), count);
    ops::convert({}, copy.data(), src.data(), count);

    EXPECT_EQ(dst.bits(), expected.bits()) << count;  // Buffer rounds as core's bfloat16
    EXPECT_EQ(copy.bits(), src.bits()) << count;
  }
}

TEST_P(Runs, AddsAndScalesWithOneRounding) {
  for (const std::int64_t count : counts) {
    const Buffer a(dtype(), uniform(count, 1)), b(dtype(), uniform(count, 2));
    const auto a_values = a.values(), b_values = b.values();
    std::vector<double> sum(a_values.size()), product(a_values.size());
    for (std::size_t i = 0; i < sum.size(); ++i) {
      sum[i] = static_cast<float>(a_values[i]) + static_cast<float>(b_values[i]);
      product[i] = static_cast<float>(a_values[i]) * 0.37F;
    }
    Buffer added = a, scaled = a;

    ops::add({}, added.data(), b.data(), count);
    ops::scale({}, scaled.data(), 0.37F, count);

    EXPECT_EQ(added.bits(), Buffer(dtype(), sum).bits()) << count;
    EXPECT_EQ(scaled.bits(), Buffer(dtype(), product).bits()) << count;
  }
}

TEST_P(Runs, AddToFloat) {
  for (const std::int64_t count : counts) {
    const Buffer a(DType::f32, uniform(count, 1)), b(dtype(), uniform(count, 2));
    std::vector<double> sum = a.values();
    const auto b_values = b.values();
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = static_cast<float>(sum[i]) + static_cast<float>(b_values[i]);
    Buffer added = a;

    ops::add({}, added.data(), b.data(), count);

    EXPECT_EQ(added.bits(), Buffer(DType::f32, sum).bits()) << count;
  }
}

TEST_P(Runs, FillsWithZerosUpToTheEnd) {
  for (const std::int64_t count : counts) {
    Buffer x(dtype(), uniform(count, 1));

    ops::fill_zero({}, x.data(), count);

    EXPECT_EQ(x.bits(), Buffer(dtype(), count).bits()) << count;
  }
}

TEST_P(Runs, RefuseOtherTypes) {
  Buffer x(dtype(), 4);
  Data half{x.data().data, DType::i16};

  EXPECT_THROW(ops::convert({}, half, x.data(), 2), ShapeError);
  EXPECT_THROW(ops::add({}, half, half, 2), ShapeError);
  EXPECT_THROW(ops::add({}, Data{x.data().data, DType::bf16}, ConstData{x.data().data, DType::f32}, 2), ShapeError);
  EXPECT_THROW(ops::convert({}, Data{x.data().data, DType::bf16}, ConstData{x.data().data, DType::f16}, 2), ShapeError);
  EXPECT_THROW(ops::scale({}, half, 2.0F, 2), ShapeError);
}

TEST_P(Runs, RefuseADeviceWithoutKernels) {
  if (on_device || device_runtime() != nullptr) GTEST_SKIP() << "skipped: this build has kernels for it";
  Buffer x(dtype(), 4);
  const Exec on_cuda{Stream(Device{DeviceKind::cuda, 0}, nullptr)};

  EXPECT_THROW(ops::fill_zero(on_cuda, x.data(), 4), Error);
}

INSTANTIATE_TEST_SUITE_P(Cpu, Runs, every_isa_and_dtype(), name_of_case);

/// All 65,536 halves survive the way to f32 and back on every instruction set.
TEST(Conversion, OfHalvesLosesNothing) {
  std::vector<std::uint16_t> bits(65'536);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
  const auto count = static_cast<std::int64_t>(bits.size());
  for (const auto isa : {cpu::Isa::baseline, cpu::Isa::avx2, cpu::Isa::avx512}) {
    cpu::cap_isa(isa);
    std::vector<float> wide(bits.size());
    std::vector<std::uint16_t> back(bits.size());

    ops::convert({}, {wide.data(), DType::f32}, {bits.data(), DType::f16}, count);
    ops::convert({}, {back.data(), DType::f16}, {wide.data(), DType::f32}, count);

    for (std::size_t i = 0; i < bits.size(); ++i) {
      const float expected = half_to_float(bits[i]);
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(wide[i]) && std::isnan(half_to_float(back[i]))) << i << " " << cpu::name_of(isa);
      } else {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(wide[i]), std::bit_cast<std::uint32_t>(expected)) << i;
        ASSERT_EQ(back[i], bits[i]) << cpu::name_of(isa);
      }
    }
  }
  cpu::cap_isa(cpu::detected_isa());
}

/// Every kind of float that rounding treats in its own way.
TEST(Conversion, HandlesSpecialValuesLikeTheScalarOne) {
  const float inf = std::numeric_limits<float>::infinity(), denormal = std::numeric_limits<float>::denorm_min();
  std::vector<float> src = {0.0F,
                            -0.0F,
                            inf,
                            -inf,
                            denormal,
                            -denormal,
                            std::numeric_limits<float>::max(),
                            1.00390625F,
                            1.01171875F,
                            std::bit_cast<float>(0x7f800001U),
                            std::bit_cast<float>(0xffffffffU),
                            std::bit_cast<float>(0x7fc00000U),
                            1.0F / 3.0F,
                            1e-40F,
                            std::bit_cast<float>(0x3f808001U),
                            std::bit_cast<float>(0x3f807fffU),
                            2.5F,
                            65504.0F,
                            65519.0F,
                            65520.0F,
                            -1e9F,
                            0x1p-14F,
                            0x1p-15F + 0x1p-25F,
                            0x1p-24F,
                            0x1p-25F,
                            0x1.8p-25F,
                            -0x1.004p-14F};
  for (const auto isa : {cpu::Isa::baseline, cpu::Isa::avx2, cpu::Isa::avx512}) {
    cpu::cap_isa(isa);
    std::vector<bfloat16> dst(src.size());
    ops::convert({}, {dst.data(), DType::bf16}, {src.data(), DType::f32}, static_cast<std::int64_t>(src.size()));
    for (std::size_t i = 0; i < src.size(); ++i)
      EXPECT_EQ(dst[i].bits, bfloat16(src[i]).bits) << src[i] << " " << cpu::name_of(isa);
    std::vector<float16> half(src.size());
    ops::convert({}, {half.data(), DType::f16}, {src.data(), DType::f32}, static_cast<std::int64_t>(src.size()));
    for (std::size_t i = 0; i < src.size(); ++i) {
      if (std::isnan(src[i])) {
        EXPECT_TRUE(std::isnan(static_cast<float>(half[i]))) << cpu::name_of(isa);
      } else {
        EXPECT_EQ(half[i].bits, float16(src[i]).bits) << src[i] << " " << cpu::name_of(isa);
      }
    }
  }
  cpu::cap_isa(cpu::detected_isa());
}

}  // namespace
}  // namespace dstrain::test::elementwise_test
