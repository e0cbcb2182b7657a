// SPDX-License-Identifier: Apache-2.0
/// RMS normalisation: hand-made numbers and finite differences -> reference -> cpu on every instruction set.
#include <numeric>
#include <tuple>

#include "core/error.hpp"
#include "kernels/ops/rms_norm.hpp"
#include "kernels/reference/rms_norm.hpp"
#include "support/random.hpp"
#include "support/tolerance.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain::test::rms_norm_test {
namespace {

constexpr double eps = 1e-5;
// One element, sizes off every vector width, a row of several unrolled steps, more rows than one block of dw.
const RmsNormShape shapes[] = {{1, 1}, {3, 7}, {2, 1031}, {5, 64}, {41, 80}, {70, 131}, {41, 80, true}};

TEST(RmsNormReference, GivesHandMadeNumbers) {
  const double x[] = {1, 3}, r[] = {2, 1}, w[] = {1, 2};
  double y[2], s[2], rstd = 0;

  reference::rms_norm_forward(y, s, &rstd, x, r, w, 0.0, {1, 2});

  EXPECT_EQ(s[0], 3);
  EXPECT_EQ(s[1], 4);
  EXPECT_NEAR(rstd, 0.28284271247461901, 1e-15);  // 1 / sqrt(12.5)
  EXPECT_NEAR(y[0], 0.84852813742385703, 1e-15);
  EXPECT_NEAR(y[1], 2.26274169979695208, 1e-15);
}

TEST(RmsNormReference, BackwardMatchesFiniteDifferences) {
  for (const RmsNormShape s : {RmsNormShape{1, 1}, {3, 7}, {2, 131}, {3, 7, true}}) {
    const auto x = uniform(s.T * s.D, 1), w = uniform(s.D, 2), dy = uniform(s.T * s.D, 3);
    const auto loss = [&](const auto& x_TD, const auto& w_D) {
      std::vector<double> y(x_TD.size()), rstd(s.T);
      reference::rms_norm_forward<double>(y.data(), nullptr, rstd.data(), x_TD.data(), nullptr, w_D.data(), eps, s);
      return std::inner_product(y.begin(), y.end(), dy.begin(), 0.0);
    };
    std::vector<double> y(x.size()), rstd(s.T), dx(x.size()), dw(w.size());
    reference::rms_norm_forward<double>(y.data(), nullptr, rstd.data(), x.data(), nullptr, w.data(), eps, s);

    reference::rms_norm_backward(dx.data(), dw.data(), dy.data(), x.data(), w.data(), rstd.data(), s, false, false);

    expect_gradient([&](const auto& v) { return loss(v, w); }, x, dx, 1e-6);
    expect_gradient([&](const auto& v) { return loss(x, v); }, w, dw, 1e-6);
  }
}

class RmsNorm : public KernelTest {};

TEST_P(RmsNorm, ForwardMatchesReference) {
  for (const RmsNormShape s : shapes) {
    SCOPED_TRACE(testing::Message() << s.T << " x " << s.D);
    const Buffer x(dtype(), uniform(s.T * s.D, 1)), w(dtype(), uniform(s.D, 2));
    Buffer y(dtype(), s.T * s.D), rstd(DType::f32, s.T);
    std::vector<double> expected(s.T * s.D), expected_rstd(s.T);
    reference::rms_norm_forward<double>(expected.data(), nullptr, expected_rstd.data(), x.values().data(), nullptr,
                                        w.values().data(), eps, s);

    ops::rms_norm_forward({}, y.data(), {}, rstd.f32(), x.data(), {}, w.data(), eps, s);

    EXPECT_TRUE(all_close(y.values(), expected, tolerance_for(dtype())));
    EXPECT_TRUE(all_close(rstd.values(), expected_rstd, tolerance_for(DType::f32, s.D)));
  }
}

TEST_P(RmsNorm, AddsTheResidualInStorageTypeAlsoInPlace) {
  for (const RmsNormShape s : shapes) {
    SCOPED_TRACE(testing::Message() << s.T << " x " << s.D);
    const Buffer r(dtype(), uniform(s.T * s.D, 4)), w(dtype(), uniform(s.D, 2)), x(dtype(), uniform(s.T * s.D, 1));
    const auto x_values = x.values(), r_values = r.values();
    std::vector<double> sum(x_values.size());
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = x_values[i] + r_values[i];
    const Buffer rounded(dtype(), sum);
    Buffer y(dtype(), s.T * s.D), out(dtype(), s.T * s.D), rstd(DType::f32, s.T), over_x = x, over_r = r, y_plain = y;

    ops::rms_norm_forward({}, y.data(), out.data(), rstd.f32(), x.data(), r.data(), w.data(), eps, s);
    ops::rms_norm_forward({}, y_plain.data(), {}, rstd.f32(), rounded.data(), {}, w.data(), eps, s);
    EXPECT_EQ(out.bits(), rounded.bits());
    EXPECT_EQ(y.bits(), y_plain.bits());

    Buffer y_again(dtype(), s.T * s.D);
    ops::rms_norm_forward({}, y_again.data(), over_x.data(), rstd.f32(), over_x.data(), r.data(), w.data(), eps, s);
    EXPECT_EQ(over_x.bits(), rounded.bits());
    EXPECT_EQ(y_again.bits(), y.bits());
    ops::rms_norm_forward({}, y_again.data(), over_r.data(), rstd.f32(), x.data(), over_r.data(), w.data(), eps, s);
    EXPECT_EQ(over_r.bits(), rounded.bits());
    EXPECT_EQ(y_again.bits(), y.bits());
  }
}

struct BackwardInput {
  BackwardInput(DType dtype, RmsNormShape shape)
      : s(shape),
        x(dtype, uniform(s.T * s.D, 1)),
        w(dtype, uniform(s.D, 2)),
        dy(dtype, uniform(s.T * s.D, 3)),
        dx_before(dtype, uniform(s.T * s.D, 5)),
        dw_before(DType::f32, uniform(s.D, 6)),
        rstd(DType::f32, uniform(s.T, 7, 0.5, 2.0)),
        workspace(static_cast<std::size_t>(ops::rms_norm_workspace_bytes(s))) {}
  [[nodiscard]] Exec exec() { return {{}, workspace.data(), static_cast<std::int64_t>(workspace.size())}; }

  RmsNormShape s;
  Buffer x, w, dy, dx_before, dw_before, rstd;
  std::vector<unsigned char> workspace;
};

TEST_P(RmsNorm, BackwardMatchesReferenceWithAllFlags) {
  for (const RmsNormShape s : shapes) {
    for (const int flags : {0, 1, 2, 3}) {
      const bool add_dx = (flags & 1) != 0, add_dw = (flags & 2) != 0;
      SCOPED_TRACE(testing::Message() << s.T << " x " << s.D << " add " << add_dx << add_dw);
      BackwardInput in(dtype(), s);
      auto dx = in.dx_before.values(), dw = in.dw_before.values();
      reference::rms_norm_backward(dx.data(), dw.data(), in.dy.values().data(), in.x.values().data(),
                                   in.w.values().data(), in.rstd.values().data(), s, add_dx, add_dw);
      Buffer dx_cpu = in.dx_before, dw_cpu = in.dw_before, dx_frozen = in.dx_before;

      ops::rms_norm_backward(in.exec(), dx_cpu.data(), dw_cpu.f32(), in.dy.data(), in.x.data(), in.w.data(),
                             in.rstd.f32(), s, add_dx, add_dw);
      ops::rms_norm_backward({}, dx_frozen.data(), nullptr, in.dy.data(), in.x.data(), in.w.data(), in.rstd.f32(), s,
                             add_dx, add_dw);

      EXPECT_TRUE(all_close(dx_cpu.values(), dx, tolerance_for(dtype(), dtype() == DType::f32 ? s.D : 1)));
      EXPECT_TRUE(all_close(dw_cpu.values(), dw, tolerance_for(DType::f32, s.T)));
      EXPECT_EQ(dx_frozen.bits(), dx_cpu.bits());
    }
  }
}

TEST_P(RmsNorm, BackwardMayWriteOverItsGradient) {
  for (const RmsNormShape s : shapes) {
    BackwardInput in(dtype(), s);
    Buffer dx = in.dx_before, dw = in.dw_before, over_dy = in.dy, dw_over = in.dw_before;

    ops::rms_norm_backward(in.exec(), dx.data(), dw.f32(), in.dy.data(), in.x.data(), in.w.data(), in.rstd.f32(), s,
                           false, false);
    ops::rms_norm_backward(in.exec(), over_dy.data(), dw_over.f32(), over_dy.data(), in.x.data(), in.w.data(),
                           in.rstd.f32(), s, false, false);

    EXPECT_EQ(over_dy.bits(), dx.bits());
    EXPECT_EQ(dw_over.bits(), dw.bits());
  }
}

TEST_P(RmsNorm, GivesTheSameBitsForAnyThreads) {
  const RmsNormShape s{210, 1031};
  BackwardInput in(dtype(), s);
  expect_same_for_any_threads([&] {
    Buffer y(dtype(), s.T * s.D), rstd(DType::f32, s.T), dx = in.dx_before, dw = in.dw_before;
    ops::rms_norm_forward({}, y.data(), {}, rstd.f32(), in.x.data(), {}, in.w.data(), eps, s);
    ops::rms_norm_backward(in.exec(), dx.data(), dw.f32(), in.dy.data(), in.x.data(), in.w.data(), rstd.f32(), s, true,
                           true);
    return std::tuple(y.bits(), rstd.bits(), dx.bits(), dw.bits());
  });
}

TEST_P(RmsNorm, RefusesASmallWorkspaceAndMixedTypes) {
  if (on_device) GTEST_SKIP() << "skipped: a GPU's sums need no workspace";
  BackwardInput in(dtype(), {3, 7});
  Exec exec = in.exec();
  exec.workspace_bytes -= 1;
  Buffer dx = in.dx_before, dw = in.dw_before;
  const Buffer other(dtype() == DType::f32 ? DType::bf16 : DType::f32, 7);

  EXPECT_THROW(ops::rms_norm_backward(exec, dx.data(), dw.f32(), in.dy.data(), in.x.data(), in.w.data(), in.rstd.f32(),
                                      in.s, false, false),
               ShapeError);
  EXPECT_THROW(ops::rms_norm_forward({}, dx.data(), {}, dw.f32(), in.x.data(), {}, other.data(), eps, in.s),
               ShapeError);
  EXPECT_EQ(dx.bits(), in.dx_before.bits());
}

INSTANTIATE_TEST_SUITE_P(Cpu, RmsNorm, every_isa_and_dtype(), name_of_case);

}  // namespace
}  // namespace dstrain::test::rms_norm_test
