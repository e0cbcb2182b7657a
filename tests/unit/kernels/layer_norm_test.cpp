// SPDX-License-Identifier: Apache-2.0
/// Layer normalisation: hand-made numbers and finite differences -> reference -> cpu on every instruction set.
#include <numeric>
#include <tuple>

#include "core/error.hpp"
#include "kernels/ops/layer_norm.hpp"
#include "kernels/reference/layer_norm.hpp"
#include "support/random.hpp"
#include "support/tolerance.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain::test::layer_norm_test {
namespace {

constexpr double eps = 1e-5;
const LayerNormShape shapes[] = {{1, 2}, {3, 7}, {2, 1031}, {5, 64}, {41, 80}, {70, 131}};

TEST(LayerNormReference, GivesHandMadeNumbers) {
  const double x[] = {1, 3}, r[] = {2, 3}, w[] = {1, 2}, b[] = {10, 20};
  double y[2], s[2], mean = 0, rstd = 0;

  reference::layer_norm_forward(y, s, &mean, &rstd, x, r, w, b, 0.0, {1, 2});

  EXPECT_EQ(mean, 4.5);        // of 3 and 6
  EXPECT_EQ(rstd, 1.0 / 1.5);  // deviation 1.5
  EXPECT_EQ(y[0], 10 - 1);
  EXPECT_EQ(y[1], 20 + 2);
}

TEST(LayerNormReference, BackwardMatchesFiniteDifferences) {
  for (const LayerNormShape s : {LayerNormShape{1, 2}, {3, 7}, {2, 31}}) {
    const auto x = uniform(s.T * s.D, 1), w = uniform(s.D, 2), b = uniform(s.D, 4), dy = uniform(s.T * s.D, 3);
    std::vector<double> y(x.size()), mean(s.T), rstd(s.T), dx(x.size()), dw(s.D), db(s.D);
    const auto loss = [&](const auto& x_TD, const auto& w_D, const auto& b_D) {
      reference::layer_norm_forward<double>(y.data(), nullptr, mean.data(), rstd.data(), x_TD.data(), nullptr,
                                            w_D.data(), b_D.data(), eps, s);
      return std::inner_product(y.begin(), y.end(), dy.begin(), 0.0);
    };
    (void)loss(x, w, b);

    reference::layer_norm_backward(dx.data(), dw.data(), db.data(), dy.data(), x.data(), w.data(), mean.data(),
                                   rstd.data(), s, false, false);

    expect_gradient([&](const auto& v) { return loss(v, w, b); }, x, dx, 1e-6);
    expect_gradient([&](const auto& v) { return loss(x, v, b); }, w, dw, 1e-6);
    expect_gradient([&](const auto& v) { return loss(x, w, v); }, b, db, 1e-6);
  }
}

class LayerNorm : public KernelTest {};

TEST_P(LayerNorm, ForwardMatchesReferenceWithAndWithoutABias) {
  for (const LayerNormShape s : shapes) {
    for (const bool bias : {true, false}) {
      SCOPED_TRACE(testing::Message() << s.T << " x " << s.D << " bias " << bias);
      const Buffer x(dtype(), uniform(s.T * s.D, 1, 1, 3)), w(dtype(), uniform(s.D, 2)), b(dtype(), uniform(s.D, 4));
      Buffer y(dtype(), s.T * s.D), mean(DType::f32, s.T), rstd(DType::f32, s.T);
      std::vector<double> expected(s.T * s.D), expected_mean(s.T), expected_rstd(s.T);
      reference::layer_norm_forward<double>(expected.data(), nullptr, expected_mean.data(), expected_rstd.data(),
                                            x.values().data(), nullptr, w.values().data(),
                                            bias ? b.values().data() : nullptr, eps, s);

      ops::layer_norm_forward({}, y.data(), {}, {mean.f32(), rstd.f32()}, x.data(), {}, w.data(),
                              bias ? b.data() : ConstData{}, eps, s);

      EXPECT_TRUE(all_close(y.values(), expected, tolerance_for(dtype(), s.D)));
      EXPECT_TRUE(all_close(mean.values(), expected_mean, tolerance_for(DType::f32, s.D)));
      EXPECT_TRUE(all_close(rstd.values(), expected_rstd, tolerance_for(DType::f32, s.D)));
    }
  }
}

TEST_P(LayerNorm, AddsTheResidualInStorageTypeAlsoInPlace) {
  for (const LayerNormShape s : shapes) {
    const Buffer r(dtype(), uniform(s.T * s.D, 4)), w(dtype(), uniform(s.D, 2)), x(dtype(), uniform(s.T * s.D, 1));
    const auto x_values = x.values(), r_values = r.values();
    std::vector<double> sum(x_values.size());
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = x_values[i] + r_values[i];
    const Buffer rounded(dtype(), sum);
    Buffer y(dtype(), s.T * s.D), y_plain = y, over_x = x, mean(DType::f32, s.T), rstd(DType::f32, s.T);
    const LayerNormStatistics kept{mean.f32(), rstd.f32()};

    ops::layer_norm_forward({}, y.data(), over_x.data(), kept, over_x.data(), r.data(), w.data(), {}, eps, s);
    ops::layer_norm_forward({}, y_plain.data(), {}, kept, rounded.data(), {}, w.data(), {}, eps, s);

    EXPECT_EQ(over_x.bits(), rounded.bits());
    EXPECT_EQ(y.bits(), y_plain.bits());
  }
}

struct BackwardInput {
  BackwardInput(DType dtype, LayerNormShape shape)
      : s(shape),
        x(dtype, uniform(s.T * s.D, 1)),
        w(dtype, uniform(s.D, 2)),
        dy(dtype, uniform(s.T * s.D, 3)),
        dx_before(dtype, uniform(s.T * s.D, 5)),
        dw_before(DType::f32, uniform(s.D, 6)),
        db_before(DType::f32, uniform(s.D, 8)),
        mean(DType::f32, uniform(s.T, 9)),
        rstd(DType::f32, uniform(s.T, 7, 0.5, 2.0)),
        workspace(static_cast<std::size_t>(ops::layer_norm_workspace_bytes(s))) {}
  [[nodiscard]] Exec exec() { return {{}, workspace.data(), static_cast<std::int64_t>(workspace.size())}; }
  [[nodiscard]] LayerNormStatistics kept() { return {mean.f32(), rstd.f32()}; }

  LayerNormShape s;
  Buffer x, w, dy, dx_before, dw_before, db_before, mean, rstd;
  std::vector<unsigned char> workspace;
};

TEST_P(LayerNorm, BackwardMatchesReferenceWithAllFlags) {
  for (const LayerNormShape s : shapes) {
    for (const int flags : {0, 1, 2, 3}) {
      const bool add_dx = (flags & 1) != 0, add_dw = (flags & 2) != 0;
      SCOPED_TRACE(testing::Message() << s.T << " x " << s.D << " add " << add_dx << add_dw);
      BackwardInput in(dtype(), s);
      auto dx = in.dx_before.values(), dw = in.dw_before.values(), db = in.db_before.values();
      reference::layer_norm_backward(dx.data(), dw.data(), db.data(), in.dy.values().data(), in.x.values().data(),
                                     in.w.values().data(), in.mean.values().data(), in.rstd.values().data(), s, add_dx,
                                     add_dw);
      Buffer dx_cpu = in.dx_before, dw_cpu = in.dw_before, db_cpu = in.db_before, dx_frozen = in.dx_before;
      const Buffer before = in.dy;

      ops::layer_norm_backward(in.exec(), dx_cpu.data(), {dw_cpu.f32(), db_cpu.f32()}, in.dy.data(), in.x.data(),
                               in.w.data(), in.kept(), s, add_dx, add_dw);
      ops::layer_norm_backward({}, dx_frozen.data(), {nullptr, nullptr}, in.dy.data(), in.x.data(), in.w.data(),
                               in.kept(), s, add_dx, add_dw);

      EXPECT_TRUE(all_close(dx_cpu.values(), dx, tolerance_for(dtype(), s.D)));
      EXPECT_TRUE(all_close(dw_cpu.values(), dw, tolerance_for(DType::f32, s.T)));
      EXPECT_TRUE(all_close(db_cpu.values(), db, tolerance_for(DType::f32, s.T)));
      EXPECT_EQ(dx_frozen.bits(), dx_cpu.bits());
      EXPECT_EQ(in.dy.bits(), before.bits());
      if (add_dx) continue;
      ops::layer_norm_backward(in.exec(), in.dy.data(), {dw_cpu.f32(), db_cpu.f32()}, in.dy.data(), in.x.data(),
                               in.w.data(), in.kept(), s, false, false);
      EXPECT_EQ(in.dy.bits(), dx_cpu.bits()) << "in place of dy";
    }
  }
}

TEST_P(LayerNorm, NeedsItsWorkspaceForWeightGradients) {
  if (on_device) GTEST_SKIP() << "skipped: a GPU's sums need none";
  BackwardInput in(dtype(), {41, 80});

  EXPECT_THROW(ops::layer_norm_backward({}, in.dx_before.data(), {in.dw_before.f32(), nullptr}, in.dy.data(),
                                        in.x.data(), in.w.data(), in.kept(), in.s, false, false),
               ShapeError);
}

TEST_P(LayerNorm, GivesTheSameBitsForAnyThreads) {
  BackwardInput in(dtype(), {201, 131});
  expect_same_for_any_threads([&] {
    Buffer y(dtype(), in.s.T * in.s.D), dx = in.dx_before, dw = in.dw_before, db = in.db_before, mean = in.mean,
                                        rstd = in.rstd;
    ops::layer_norm_forward({}, y.data(), {}, {mean.f32(), rstd.f32()}, in.x.data(), {}, in.w.data(), {}, eps, in.s);
    ops::layer_norm_backward(in.exec(), dx.data(), {dw.f32(), db.f32()}, in.dy.data(), in.x.data(), in.w.data(),
                             in.kept(), in.s, true, true);
    return std::tuple(y.bits(), dx.bits(), dw.bits(), db.bits());
  });
}

INSTANTIATE_TEST_SUITE_P(Cpu, LayerNorm, every_isa_and_dtype(), name_of_case);

}  // namespace
}  // namespace dstrain::test::layer_norm_test
