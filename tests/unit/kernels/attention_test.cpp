// SPDX-License-Identifier: Apache-2.0
/// Attention against its definition, on every instruction set.
#include <gtest/gtest.h>

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "core/error.hpp"
#include "kernels/cpu/bf16_products.hpp"
#include "kernels/cpu/simd/isa.hpp"
#include "kernels/ops.hpp"
#include "support/tolerance.hpp"
#include "unit/kernels/attention_case.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain {
namespace {

using test::all_close;
using test::cpu_results;
using test::doubles;
using test::on_device;
using test::Operands;
using test::reference_results;
using test::Results;
using test::Sizes;
using test::stored;
using test::tolerance_for;

const Sizes cases[] = {
    {"one_token", {1}, {1}, 1, 1, 8},
    {"tiny_segments", {1, 2, 3, 5, 1}, {1, 2, 3, 5, 1}, 2, 2, 12, 0, 3},
    {"fused_rows", {64, 37}, {64, 37}, 6, 6, 48, 0, 27, true},
    {"grouped_heads", {130, 61}, {130, 61}, 8, 2, 64, 0, 1, true},
    {"one_key_head", {77}, {77}, 5, 1, 10, 0, 0, false},
    {"several_blocks", {500}, {500}, 2, 1, 16, 0, 12, true},
    {"wide_heads", {70}, {70}, 2, 1, 256},
    {"odd_width", {67}, {67}, 2, 2, 98, 0, 0, true},
    {"longer_keys", {1, 9, 130}, {300, 9, 215}, 4, 2, 20, 0, 0, false},
    {"window", {300, 20}, {300, 20}, 2, 1, 24, 33, 4, true},
    {"narrow_window", {210}, {210}, 2, 2, 8, 1},
    {"window_over_longer_keys", {40, 140}, {260, 450}, 2, 1, 32, 150, 0, false},
    {"segments_without_queries_or_keys", {0, 17, 0}, {5, 17, 0}, 2, 1, 8, 0, 6, false},
    {"groups", {130, 21}, {130, 21}, 6, 3, 20, 0, 4, true, true},
    {"groups_of_one", {67}, {67}, 4, 4, 12, 0, 0, true, true},
    {"alibi", {230, 61}, {230, 61}, 5, 5, 16, 0, 3, true, false, true},
    {"alibi_over_longer_keys", {1, 40}, {250, 90}, 4, 2, 16, 0, 0, false, false, true},
    {"softcap", {230, 3}, {230, 3}, 4, 2, 24, 50, 1, true, false, false, 2.5F},
    {"dropout", {210, 70}, {210, 70}, 4, 2, 16, 0, 3, true, false, false, 0.0F, 0.25F},
    {"everything", {200, 9}, {200, 9}, 4, 2, 16, 40, 3, true, true, true, 3.0F, 0.1F},
    {"padding", {230, 64, 5}, {230, 64, 5}, 4, 2, 16, 0, 3, true, false, false, 0.0F, 0.0F, {101, 64, 3}},
    {"padding_everything", {200, 72}, {200, 72}, 4, 2, 16, 40, 3, true, true, true, 3.0F, 0.1F, {170, 40}},
};

class Attention : public testing::TestWithParam<std::tuple<cpu::Isa, Sizes>> {
 protected:
  void SetUp() override {
    if (std::get<0>(GetParam()) > cpu::detected_isa())
      GTEST_SKIP() << "skipped: this CPU has no " << cpu::name_of(std::get<0>(GetParam()));
    cpu::cap_isa(std::get<0>(GetParam()));
  }
  void TearDown() override { cpu::cap_isa(cpu::detected_isa()); }
};

/// The unit that multiplies bf16 for one test.
class Bf16Unit {
 public:
  explicit Bf16Unit(cpu::Bf16Products products) : before_(cpu::bf16_products()) { cpu::use_bf16_products(products); }
  ~Bf16Unit() { cpu::use_bf16_products(before_); }
  Bf16Unit(const Bf16Unit&) = delete;
  Bf16Unit& operator=(const Bf16Unit&) = delete;

 private:
  cpu::Bf16Products before_;
};

/// The sums behind an element: over keys or queries of products over head_dim, whose size is that of a few ones.
std::int64_t length_of_sums(const Operands& o) {
  return 4 * std::max<std::int64_t>(o.shape.max_seqlen, o.shape.head_dim);
}

void expect_same(const Results& actual, const Results& expected, test::Tolerance tolerance) {
  EXPECT_TRUE(all_close(actual.out, expected.out, tolerance)) << "out";
  EXPECT_TRUE(all_close(actual.lse, expected.lse, tolerance)) << "lse";
  EXPECT_TRUE(all_close(actual.dq, expected.dq, tolerance)) << "dq";
  EXPECT_TRUE(all_close(actual.dk, expected.dk, tolerance)) << "dk";
  EXPECT_TRUE(all_close(actual.dv, expected.dv, tolerance)) << "dv";
}

/// Kept: each instruction set asks for the same.
const Results& definition_in_f32(const std::string& name, const Operands& o) {
  static std::map<std::string, Results> known;
  if (const auto it = known.find(name); it != known.end()) return it->second;
  return known.emplace(name, reference_results(o, o.q, o.k, o.v, o.dout)).first->second;
}

TEST_P(Attention, AgreesWithTheDefinitionInF32) {
  const Sizes& sizes = std::get<1>(GetParam());
  const Operands o(sizes);
  const Results& expected = definition_in_f32(sizes.name, o);

  const Results actual = cpu_results<float>(o);

  expect_same(actual, expected, tolerance_for(DType::f32, length_of_sums(o)));
}

/// Rounded once, when stored; the sums are those of f32. Products of pairs and a GPU's take the weights, too, in the
/// storage type, of which a row adds up to one.
test::Tolerance tolerance_of_storage(DType dtype, const Operands& o, bool narrow_weights = on_device) {
  const double weights = narrow_weights ? tolerance_for(dtype).relative : 0.0;
  return {tolerance_for(dtype).relative, tolerance_for(DType::f32, length_of_sums(o)).absolute + weights};
}

void expect_bf16(const Operands& o, bool narrow_weights) {
  const auto rounded = [](const std::vector<double>& x) { return doubles(stored<bfloat16>(x)); };

  const Results actual = cpu_results<bfloat16>(o);

  const Results expected = reference_results(o, rounded(o.q), rounded(o.k), rounded(o.v), rounded(o.dout), &actual.out);

  expect_same(actual, expected, tolerance_of_storage(DType::bf16, o, narrow_weights));
}

TEST_P(Attention, AgreesWithTheDefinitionInBf16) {
  const Bf16Unit unit(cpu::Bf16Products::convert);
  expect_bf16(Operands(std::get<1>(GetParam())), on_device);
}

TEST_P(Attention, AgreesWithTheDefinitionInPairsOfBf16) {
  if (!cpu::can_run(cpu::Bf16Products::pairs)) GTEST_SKIP() << "skipped: this CPU or instruction set has no VDPBF16PS";
  const Bf16Unit unit(cpu::Bf16Products::pairs);
  ASSERT_EQ(cpu::bf16_products(), cpu::Bf16Products::pairs);
  expect_bf16(Operands(std::get<1>(GetParam())), true);
}

TEST_P(Attention, AgreesWithTheDefinitionInF16) {
  const Operands o(std::get<1>(GetParam()));
  const auto rounded = [](const std::vector<double>& x) { return doubles(stored<float16>(x)); };

  const Results actual = cpu_results<float16>(o);

  const Results expected = reference_results(o, rounded(o.q), rounded(o.k), rounded(o.v), rounded(o.dout), &actual.out);
  expect_same(actual, expected, tolerance_of_storage(DType::f16, o));
}

TEST_P(Attention, GivesTheSameBitsOnAnyNumberOfThreads) {
  const Operands o(std::get<1>(GetParam()));
  const int before = omp_get_max_threads();
  std::vector<Results> results, narrow;
  const Bf16Unit unit(cpu::Bf16Products::pairs);  // where there is one
  for (const int threads : {1, 2, 3}) {
    if (on_device && threads == 2) continue;  // threads of the host mean nothing there: the same bits again
    omp_set_num_threads(threads);
    results.push_back(cpu_results<float>(o));
    narrow.push_back(cpu_results<bfloat16>(o));
  }
  omp_set_num_threads(before);
  for (const std::vector<Results>* all : {&results, &narrow}) {
    for (const Results& r : *all) {
      EXPECT_EQ(r.out, all->front().out);
      EXPECT_EQ(r.lse, all->front().lse);
      EXPECT_EQ(r.dq, all->front().dq);
      EXPECT_EQ(r.dk, all->front().dk);
      EXPECT_EQ(r.dv, all->front().dv);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Attention,
                         testing::Combine(testing::Values(cpu::Isa::baseline, cpu::Isa::avx2, cpu::Isa::avx512),
                                          testing::ValuesIn(cases)),
                         [](const auto& info) {
                           return std::string(cpu::name_of(std::get<0>(info.param))) + "_" +
                                  std::get<1>(info.param).name;
                         });

TEST(AttentionDropout, DropsTheShareItWasAskedFor) {
  // Values of one: an output is the sum of the weights that are left, one in the mean.
  Operands o({.name = "ones", .n_q = {256}, .n_k = {256}, .heads = 4, .kv_heads = 4, .head_dim = 2, .dropout = 0.4F});
  std::fill(o.v.begin(), o.v.end(), 1.0);

  const Results r = cpu_results<float>(o);

  double sum = 0;
  std::int64_t dropped = 0;
  for (std::int64_t t = 0; t < 256; ++t) {
    for (std::int64_t h = 0; h < 4; ++h) sum += r.out[static_cast<std::size_t>(t * o.shape.out_stride + 2 * h)];
  }
  for (std::int64_t h = 0; h < 4; ++h) dropped += r.out[static_cast<std::size_t>(2 * h)] == 0.0 ? 1 : 0;
  EXPECT_NEAR(sum / (256 * 4), 1.0, 0.03);
  EXPECT_LT(dropped, 4);  // heads have streams of their own: all four drop their only key in 1 of 40 cases
}

// Large scores: without the running maximum, or with one that is not carried over blocks, the exponentials overflow.
TEST(AttentionRange, HoldsForScoresFarApart) {
  Operands o({"large", {400}, {400}, 1, 1, 8});
  for (double& x : o.q) x *= 40;
  for (double& x : o.k) x *= 40;
  const Results expected = reference_results(o, doubles(stored<float>(o.q)), doubles(stored<float>(o.k)), o.v, o.dout);

  const Results actual = cpu_results<float>(o);

  for (const double x : actual.out) ASSERT_TRUE(std::isfinite(x));
  // Scores of some thousands carry 1e-7 of themselves as an absolute error into the exponent.
  EXPECT_TRUE(all_close(actual.out, expected.out, {2e-3, 2e-3}));
}

TEST(AttentionCalls, GiveZerosWhereAQuerySeesNoKey) {
  const Operands o({"more_queries", {20}, {7}, 2, 1, 8});

  const Results actual = cpu_results<float>(o);

  for (std::int64_t t = 0; t < 13; ++t) {
    for (std::int64_t d = 0; d < 16; ++d) {
      EXPECT_EQ(actual.out[static_cast<std::size_t>(t * o.shape.out_stride + d)], 0.0);
      EXPECT_EQ(actual.dq[static_cast<std::size_t>(t * o.shape.q_stride + d)], 0.0);
    }
  }
  const Results expected = reference_results(o, o.q, o.k, o.v, o.dout);
  EXPECT_TRUE(all_close(actual.dk, expected.dk, tolerance_for(DType::f32, 64)));
}

TEST(AttentionCalls, ThatCannotBeRightAreRefused) {
  const Operands o({"small", {4}, {4}, 2, 1, 8});
  std::vector<float> x(1024);
  std::vector<char> workspace(static_cast<std::size_t>(ops::attention_workspace_bytes(o.shape, omp_get_max_threads())));
  const Exec exec{{}, workspace.data(), static_cast<std::int64_t>(workspace.size())};
  const Data f{x.data(), DType::f32};
  const auto refuse = [&](const char* what, const Exec& e, Data out, const AttentionShape& s) {
    EXPECT_THROW(ops::attention_forward(e, out, nullptr, f, f, f, s), ShapeError) << what;
  };
  AttentionShape s = o.shape;
  refuse("no workspace", {}, f, s);
  refuse("two dtypes", exec, {x.data(), DType::bf16}, s);
  s.head_dim = 7, refuse("odd head_dim", exec, f, s), s = o.shape;
  s.heads = 3, s.kv_heads = 2, refuse("heads that do not divide", exec, f, s), s = o.shape;
  s.T = 3, refuse("segments behind the last row", exec, f, s), s = o.shape;
  s.max_seqlen = 3, refuse("a longer segment than announced", exec, f, s), s = o.shape;
  s.q_group_stride = 7, refuse("heads that overlap", exec, f, s), s = o.shape;
  s.dropout.probability = 1.0F, refuse("nothing left", exec, f, s), s = o.shape;
  s.q_stride = 15, refuse("a stride shorter than its row", exec, f, s), s = o.shape;
  EXPECT_THROW(ops::attention_backward(exec, f, f, f, f, f, nullptr, f, f, f, s), ShapeError) << "no lse";
}

}  // namespace
}  // namespace dstrain
