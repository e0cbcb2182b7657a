// SPDX-License-Identifier: Apache-2.0
/// Norms of single heads, and the head whose rows have length one: reference -> cpu on every instruction set.
#include <cmath>
#include <numeric>
#include <tuple>

#include "core/error.hpp"
#include "kernels/ops/head_norm.hpp"
#include "kernels/ops/row_norm.hpp"
#include "kernels/reference/head_norm.hpp"
#include "kernels/reference/row_norm.hpp"
#include "support/random.hpp"
#include "support/tolerance.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain::test::head_norm_test {
namespace {

constexpr double eps = 1e-6;
const HeadNormShape head_shapes[] = {{1, 1, 2, 2, 2, 1}, {3, 2, 16, 50, 40, 5}, {41, 3, 80, 245, 240, 3, true}};

class HeadNorm : public KernelTest {};

TEST_P(HeadNorm, MatchesReferenceForwardAndBackward) {
  for (const HeadNormShape s : head_shapes) {
    SCOPED_TRACE(testing::Message() << s.T << " x " << s.heads << " x " << s.head_dim);
    const Buffer before(dtype(), uniform(s.T * s.stride, 1)), w(dtype(), uniform(s.head_dim, 2)),
        dy(dtype(), uniform(s.T * s.stride, 3)), dw_before(DType::f32, uniform(s.head_dim, 4));
    auto y = before.values(), kept = std::vector<double>(s.T * s.kept_stride),
         rstd = std::vector<double>(s.T * s.rstd_stride);
    auto dx = dy.values(), dw = dw_before.values();
    reference::head_norm_forward(y.data(), kept.data(), rstd.data(), w.values().data(), eps, s);
    Buffer x = before, alone = before, kept_cpu(dtype(), s.T * s.kept_stride),
           rstd_cpu(DType::f32, s.T * s.rstd_stride);

    ops::head_norm_forward({}, x.data(), kept_cpu.data(), rstd_cpu.f32(), w.data(), eps, s);
    ops::head_norm_forward({}, alone.data(), {}, rstd_cpu.f32(), w.data(), eps, s);

    EXPECT_TRUE(all_close(x.values(), y, tolerance_for(dtype())));
    EXPECT_TRUE(all_close(rstd_cpu.values(), rstd, tolerance_for(DType::f32, s.head_dim)));
    EXPECT_EQ(kept_cpu.values(), kept);
    EXPECT_EQ(alone.bits(), x.bits());

    reference::head_norm_backward(dx.data(), dw.data(), kept.data(), rstd_cpu.values().data(), w.values().data(), s,
                                  true);
    std::vector<unsigned char> workspace(static_cast<std::size_t>(ops::head_norm_workspace_bytes(s)));
    Buffer dx_cpu = dy, dw_cpu = dw_before, frozen = dy;

    ops::head_norm_backward({{}, workspace.data(), static_cast<std::int64_t>(workspace.size())}, dx_cpu.data(),
                            dw_cpu.f32(), kept_cpu.data(), rstd_cpu.f32(), w.data(), s, true);
    ops::head_norm_backward({}, frozen.data(), nullptr, kept_cpu.data(), rstd_cpu.f32(), w.data(), s, true);

    EXPECT_TRUE(all_close(dx_cpu.values(), dx, tolerance_for(dtype())));
    EXPECT_TRUE(all_close(dw_cpu.values(), dw, tolerance_for(DType::f32, s.T * s.heads)));
    EXPECT_EQ(frozen.bits(), dx_cpu.bits());
    if (on_device) continue;  // a GPU's sums need no workspace
    EXPECT_THROW(
        ops::head_norm_backward({}, dx_cpu.data(), dw_cpu.f32(), kept_cpu.data(), rstd_cpu.f32(), w.data(), s, true),
        ShapeError);
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, HeadNorm, every_isa_and_dtype(), name_of_case);

TEST(NormalisedHeadReference, BackwardMatchesFiniteDifferences) {
  constexpr std::int64_t T = 3, V = 5, D = 4;
  const auto x = uniform(T * D, 1), w = uniform(V * D, 2), dlogits = uniform(T * V, 3);
  std::vector<double> logits(T * V), dx(T * D), dw(V * D);
  const auto loss = [&](const auto& x_TD, const auto& w_VD) {
    reference::normalised_logits(logits.data(), x_TD.data(), w_VD.data(), T, V, D);
    return std::inner_product(logits.begin(), logits.end(), dlogits.begin(), 0.0);
  };

  reference::normalised_logits_backward(dx.data(), dw.data(), dlogits.data(), x.data(), w.data(), T, V, D);

  expect_gradient([&](const auto& v) { return loss(v, w); }, x, dx, 1e-6);
  expect_gradient([&](const auto& v) { return loss(x, v); }, w, dw, 1e-6);
}

class NormalisedHead : public KernelTest {};

TEST_P(NormalisedHead, MatchesReferenceByColumnsScaledAroundPlainProducts) {
  constexpr std::int64_t T = 5, V = 37, D = 67;
  const Buffer w(dtype(), uniform(V * D, 2)), x(DType::f32, uniform(T * D, 1)), dlogits(DType::f32, uniform(T * V, 3));
  const auto w_values = w.values(), x_values = x.values(), dlogits_values = dlogits.values();
  std::vector<double> logits(T * V), dx(T * D), dw(V * D), products(T * V), plain(V * D);
  reference::normalised_logits(logits.data(), x_values.data(), w_values.data(), T, V, D);
  reference::normalised_logits_backward(dx.data(), dw.data(), dlogits_values.data(), x_values.data(), w_values.data(),
                                        T, V, D);
  for (std::int64_t t = 0; t < T; ++t) {
    for (std::int64_t v = 0; v < V; ++v)
      products[t * V + v] = std::inner_product(&x_values[t * D], &x_values[t * D] + D, &w_values[v * D], 0.0);
  }
  Buffer r(DType::f32, V), scaled(DType::f32, products), weighted = dlogits;

  ops::inverse_row_norms({}, r.f32(), w.data(), V, D);
  ops::scale_columns({}, scaled.data(), r.f32(), T, V);
  ops::scale_columns({}, weighted.data(), r.f32(), T, V);
  const auto weighted_values = weighted.values();
  for (std::int64_t v = 0; v < V; ++v) {
    for (std::int64_t t = 0; t < T; ++t) {
      for (std::int64_t d = 0; d < D; ++d) plain[v * D + d] += weighted_values[t * V + v] * x_values[t * D + d];
    }
  }
  Buffer gradient(DType::f32, plain);
  ops::remove_row_component({}, gradient.f32(), w.data(), r.f32(), V, D);

  EXPECT_TRUE(all_close(scaled.values(), logits, tolerance_for(DType::f32, D)));
  EXPECT_TRUE(all_close(gradient.values(), dw, tolerance_for(DType::f32, D)));
  Buffer twice = gradient;
  ops::remove_row_component({}, twice.f32(), w.data(), r.f32(), V, D);
  EXPECT_TRUE(all_close(twice.values(), gradient.values(), tolerance_for(DType::f32, D))) << "a second time";
}

TEST_P(NormalisedHead, TakesARowOfZeros) {
  const Buffer w(dtype(), 8, 0.0);
  Buffer r(DType::f32, 2), dw(DType::f32, 8, 1.0);

  ops::inverse_row_norms({}, r.f32(), w.data(), 2, 4);
  ops::remove_row_component({}, dw.f32(), w.data(), r.f32(), 2, 4);

  EXPECT_FLOAT_EQ(r.f32()[0], 1e12F);
  for (const double v : dw.values()) EXPECT_EQ(v, 1.0);
}

TEST_P(NormalisedHead, ScalesColumnsOfEitherStorageType) {
  Buffer x(dtype(), {1, 2, 3, 4, 5, 6});
  const Buffer factor(DType::f32, {2, 0.5, -1});

  ops::scale_columns({}, x.data(), factor.f32(), 2, 3);

  EXPECT_EQ(x.values(), (std::vector<double>{2, 1, -3, 8, 2.5, -6}));
}

INSTANTIATE_TEST_SUITE_P(Cpu, NormalisedHead, every_isa_and_dtype(), name_of_case);

}  // namespace
}  // namespace dstrain::test::head_norm_test
