// SPDX-License-Identifier: Apache-2.0
/// The definition of attention: by hand, and against finite differences.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/reference/attention.hpp"
#include "unit/kernels/attention_case.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain {
namespace {

using test::Operands;
using test::reference_results;
using test::Results;
using test::Sizes;
using test::untouched;

class AttentionReference : public testing::TestWithParam<Sizes> {};

TEST_P(AttentionReference, BackwardMatchesFiniteDifferences) {
  const Operands o(GetParam());
  const auto loss = [&](const std::vector<double>& q, const std::vector<double>& k, const std::vector<double>& v) {
    std::vector<double> out(static_cast<std::size_t>(o.out_count()), 0.0);
    reference::attention_forward<double>(out.data(), nullptr, q.data(), k.data() + o.k_at, v.data() + o.v_at, o.shape);
    return std::inner_product(out.begin(), out.end(), o.dout.begin(), 0.0);
  };

  Results r = reference_results(o, o.q, o.k, o.v, o.dout);

  // What no gradient is defined for (columns between the rows, rows behind kv) was left alone; there the difference is
  // zero.
  for (auto* gradient : {&r.dq, &r.dk, &r.dv}) std::replace(gradient->begin(), gradient->end(), untouched, 0.0);
  test::expect_gradient([&](const auto& x) { return loss(x, o.k, o.v); }, o.q, r.dq, 1e-6);
  test::expect_gradient([&](const auto& x) { return loss(o.q, x, o.v); }, o.k, r.dk, 1e-6);
  test::expect_gradient([&](const auto& x) { return loss(o.q, o.k, x); }, o.v, r.dv, 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Sizes, AttentionReference,
                         testing::Values(Sizes{"one", {1}, {1}, 1, 1, 2},
                                         Sizes{"two_segments", {5, 3}, {5, 3}, 2, 1, 4, 0, 2},
                                         Sizes{"window", {7}, {7}, 2, 2, 6, 3},
                                         Sizes{"longer_keys", {2, 3}, {6, 3}, 4, 2, 4, 4},
                                         Sizes{.name = "padding",
                                               .n_q = {6, 3},
                                               .n_k = {6, 3},
                                               .heads = 2,
                                               .kv_heads = 1,
                                               .head_dim = 4,
                                               .alibi = true,
                                               .key_lens = {4, 2}},
                                         Sizes{.name = "groups",
                                               .n_q = {5, 2},
                                               .n_k = {5, 2},
                                               .heads = 4,
                                               .kv_heads = 2,
                                               .head_dim = 4,
                                               .padding = 1,
                                               .fused = true,
                                               .grouped = true},
                                         Sizes{.name = "bias_cap_and_dropout",
                                               .n_q = {6, 3},
                                               .n_k = {6, 3},
                                               .heads = 2,
                                               .kv_heads = 1,
                                               .head_dim = 4,
                                               .alibi = true,
                                               .softcap = 1.5F,
                                               .dropout = 0.3F}),
                         [](const auto& info) { return info.param.name; });

/// One head of two columns, two tokens in one segment, not scaled.
AttentionShape two_tokens() {
  static const std::vector<std::int32_t> cu = {0, 2};
  return {2, 1, cu.data(), cu.data(), 2, 1, 1, 2, 2, 2, 2, 1.0F};
}

// By hand: two keys, values 1 and 3. The first query sees one key; the second has scores 0 and ln 3, so weights 1/4 and
// 3/4.
TEST(AttentionReferenceByHand, WeighsTheValues) {
  const AttentionShape s = two_tokens();
  const double ln3 = std::log(3.0);
  const std::vector<double> q = {5, 0, 1, 0}, k = {0, 0, ln3, 0}, v = {1, 1, 3, 3};
  std::vector<double> out(4), lse(2);

  reference::attention_forward(out.data(), lse.data(), q.data(), k.data(), v.data(), s);

  EXPECT_DOUBLE_EQ(out[0], 1.0);
  EXPECT_NEAR(out[2], 0.25 * 1 + 0.75 * 3, 1e-15);
  EXPECT_NEAR(lse[1], std::log(4.0), 1e-15);
}

// By hand: a cap of 2 turns the scores 0 and 2 atanh(0.5) into 0 and 1; a slope of ln 2 then halves the first key's
// weight once more.
TEST(AttentionReferenceByHand, CapsAndBiasesScores) {
  const std::vector<float> slopes = {static_cast<float>(std::log(2.0))};
  AttentionShape s = two_tokens();
  s.softcap = 2.0F;
  s.alibi_slopes = slopes.data();
  const std::vector<double> q = {5, 0, 1, 0}, k = {0, 0, 2 * std::atanh(0.5), 0}, v = {1, 1, 3, 3};
  std::vector<double> out(4), lse(2);

  reference::attention_forward(out.data(), lse.data(), q.data(), k.data(), v.data(), s);

  const double first = 0.5, second = std::exp(1.0);
  EXPECT_NEAR(out[2], (first * 1 + second * 3) / (first + second), 1e-7);
}

}  // namespace
}  // namespace dstrain
