// SPDX-License-Identifier: Apache-2.0
/// What lets a GPU decide on an update while the host goes on: losses and norms summed where they are made, in the
/// host's order, and updates whose scale stands in memory.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.hpp"
#include "kernels/ops/cross_entropy.hpp"
#include "kernels/ops/optimizer.hpp"
#include "kernels/ops/optimizer_8bit.hpp"
#include "support/random.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain::test::queued_step_test {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

TEST(LossSums, AreThoseOfALoopOverTheRows) {
  for (const std::int64_t T : {1, 31, 512, 513, 2000}) {
    const Buffer nll(DType::f32, uniform(T, 1, 0, 12)), weight(DType::f32, uniform(T, 2, 0, 1));
    std::vector<std::int32_t> target(static_cast<std::size_t>(T), 5);
    for (std::size_t t = 0; t < target.size(); t += 3) target[t] = -1;
    double loss = 0.0, nll_sum = 0.0, targets = 0.0;
    for (std::size_t t = 0; t < target.size(); ++t) {
      if (target[t] < 0) continue;
      loss += static_cast<double>(weight.f32()[t]) * static_cast<double>(nll.f32()[t]);
      nll_sum += static_cast<double>(nll.f32()[t]);
      targets += 1.0;
    }
    double sums[3] = {nan, nan, nan};

    ops::loss_sums({}, sums, nll.f32(), target.data(), weight.f32(), T);

    EXPECT_EQ(sums[0], loss) << T;
    EXPECT_EQ(sums[1], nll_sum) << T;
    EXPECT_EQ(sums[2], targets) << T;
  }
}

TEST(LossSums, OfNoRowsAreZero) {
  double sums[3] = {nan, nan, nan};

  ops::loss_sums({}, sums, nullptr, nullptr, nullptr, 0);

  EXPECT_EQ(sums[0], 0.0);
  EXPECT_EQ(sums[1], 0.0);
  EXPECT_EQ(sums[2], 0.0);
}

TEST(AddInOrder, GivesTheBitsOfALoop) {
  const auto x = uniform(3 * 700, 1, 0, 1e6);
  for (const std::int64_t count : {1, 255, 256, 600}) {
    double sum = 0.5, expected = 0.5;
    for (std::size_t r = 0; r < 3; ++r) {
      for (std::int64_t i = 0; i < count; ++i) expected += x[r * 700 + static_cast<std::size_t>(i)];
    }

    ops::add_in_order({}, &sum, x.data(), 3, 700, count, true);

    EXPECT_EQ(sum, expected) << count;
    ops::add_in_order({}, &sum, x.data(), 1, 700, 1, false);
    EXPECT_EQ(sum, x[0]);
  }
}

TEST(UpdateScale, IsTorchsClipFactorOverTheLossScale) {
  struct Case {
    double squares, max_norm, loss_scale, norm, scale;
  };
  for (const Case& c :
       {Case{16.0, 1.0, 1.0, 4.0, 1.0 / (4.0 + 1e-6)}, Case{16.0, 0.0, 1.0, 4.0, 1.0}, Case{0.25, 1.0, 1.0, 0.5, 1.0},
        Case{256.0, 1.0, 4.0, 4.0, 1.0 / (4.0 + 1e-6) / 4.0}, Case{0.0, 1.0, 1.0, 0.0, 1.0}}) {
    double norm = nan, scale = nan;

    ops::update_scale({}, &norm, &scale, &c.squares, nullptr, 0, 0,
                      {.max_norm = c.max_norm, .loss_scale = c.loss_scale});

    EXPECT_EQ(norm, c.norm);
    EXPECT_EQ(scale, c.scale);
  }
}

TEST(UpdateScale, IsNaNWhereNormOrLossIsNotFinite) {
  const double finite[] = {1.0, 2.0, 3.0, 4.0};
  for (const double bad : {nan, infinity, -infinity}) {
    const double losses[] = {1.0, 9.0, bad, 9.0};
    double norm = 0.0, scale = 0.0;
    ops::update_scale({}, &norm, &scale, finite, losses, 2, 2, {.max_norm = 1.0});
    EXPECT_TRUE(std::isnan(scale)) << bad;
    EXPECT_EQ(norm, 1.0);
    ops::update_scale({}, &norm, &scale, finite, losses, 1, 2, {.max_norm = 1.0});
    EXPECT_FALSE(std::isnan(scale)) << "the other rank's loss alone is bad";
    if (bad < 0) continue;
    ops::update_scale({}, &norm, &scale, &bad, finite, 2, 2, {.max_norm = 1.0});
    EXPECT_TRUE(std::isnan(scale)) << bad;
    EXPECT_FALSE(std::isfinite(norm));
  }
}

/// The arrays of an update of every kind.
struct Arrays {
  static constexpr std::int64_t count = 600;
  Buffer master{DType::f32, uniform(count, 1)}, gradient{DType::f32, uniform(count, 2)};
  Buffer a{DType::f32, uniform(count, 3)}, b{DType::f32, uniform(count, 4, 0, 1)}, c{DType::f32, uniform(count, 5)};
  Buffer copy{DType::bf16, count};
  Buffer narrow_w{DType::bf16, uniform(count, 6)}, narrow_m{DType::bf16, uniform(count, 7)},
      narrow_v{DType::bf16, uniform(count, 8, 0, 1)};
  std::vector<std::uint8_t> code1 = std::vector<std::uint8_t>(count, 200),
                            code2 = std::vector<std::uint8_t>(count, 100);
  std::vector<float> absmax1 = std::vector<float>(3, 0.5F), absmax2 = std::vector<float>(3, 0.25F);

  void update(const UpdateParameters& p) {
    for (int rule = 0; rule <= static_cast<int>(UpdateRule::momentum); ++rule) {
      ops::update({}, static_cast<UpdateRule>(rule),
                  {master.f32(), gradient.f32(), {a.f32(), b.f32(), c.f32()}, copy.data()}, count, p);
    }
    ops::adamw_bf16({}, narrow_w.data(), narrow_m.data(), narrow_v.data(), gradient.f32(), count, p);
    ops::adamw_8bit({}, master.f32(), {code1.data(), absmax1.data()}, {code2.data(), absmax2.data()}, gradient.f32(),
                    {}, count, p);
    ops::lion_8bit({}, master.f32(), {code1.data(), absmax1.data()}, gradient.f32(), {}, count, p);
  }
  [[nodiscard]] bool operator==(const Arrays& o) const {
    return master.bits() == o.master.bits() && a.bits() == o.a.bits() && b.bits() == o.b.bits() &&
           c.bits() == o.c.bits() && copy.bits() == o.copy.bits() && narrow_w.bits() == o.narrow_w.bits() &&
           narrow_m.bits() == o.narrow_m.bits() && narrow_v.bits() == o.narrow_v.bits() && code1 == o.code1 &&
           code2 == o.code2 && absmax1 == o.absmax1 && absmax2 == o.absmax2;
  }
};

constexpr UpdateParameters usual{
    .lr = 1e-2, .weight_decay = 0.1, .momentum = 0.9, .nesterov = true, .centered = true, .step = 2};

TEST(QueuedScale, UpdatesAsTheSameNumberDoes) {
  if (!on_device) GTEST_SKIP() << "skipped: the CPU is given the number";
  Arrays expected, actual;
  UpdateParameters p = usual;
  p.gradient_scale = 0.37;
  expected.update(p);
  const double scale = 0.37;
  p.gradient_scale = 5.0;
  p.gradient_scale_at = &scale;

  actual.update(p);

  EXPECT_TRUE(actual == expected);
}

TEST(QueuedScale, OfNaNUpdatesNothing) {
  if (!on_device) GTEST_SKIP() << "skipped: the CPU is given the number";
  const Arrays before;
  Arrays after;
  UpdateParameters p = usual;
  p.gradient_scale_at = &nan;

  after.update(p);

  EXPECT_TRUE(after == before);
}

TEST(QueuedScale, IsRefusedOnTheCpu) {
  if (on_device) GTEST_SKIP() << "skipped: of the CPU";
  Arrays arrays;
  UpdateParameters p = usual;
  p.gradient_scale_at = &nan;
  EXPECT_THROW(arrays.update(p), ShapeError);
}

}  // namespace
}  // namespace dstrain::test::queued_step_test
