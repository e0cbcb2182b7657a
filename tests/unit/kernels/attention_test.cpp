// SPDX-License-Identifier: Apache-2.0
/// Attention: the definition against finite differences, the CPU kernels against the definition.
#include <gtest/gtest.h>

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "core/error.hpp"
#include "kernels/cpu/simd/isa.hpp"
#include "kernels/ops.hpp"
#include "kernels/reference/attention.hpp"
#include "support/random.hpp"
#include "support/tolerance.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain {
namespace {

using test::all_close;
using test::on_device;
using test::tolerance_for;
using test::uniform;

/// Sizes of one case. q, k, v lie in one fused row where `fused`.
struct Sizes {
  std::string name;
  std::vector<std::int32_t> n_q;
  std::vector<std::int32_t> n_k;
  std::int64_t heads;
  std::int64_t kv_heads;
  std::int64_t head_dim;
  std::int32_t window = 0;
  std::int64_t padding = 0;  ///< rows behind the last segment
  bool fused = false;
  bool grouped = false;  ///< with fused: the heads of one key head, then its k and v, then the next (InternLM2, Bloom)
  bool alibi = false;
  float softcap = 0.0F;
  float dropout = 0.0F;
  std::vector<std::int32_t> key_lens = {};  ///< empty: all keys are seen

  friend void PrintTo(const Sizes& s, std::ostream* out) { *out << s.name; }
};

std::vector<std::int32_t> cumulated(const std::vector<std::int32_t>& lengths) {
  std::vector<std::int32_t> cu(lengths.size() + 1, 0);
  std::partial_sum(lengths.begin(), lengths.end(), cu.begin() + 1);
  return cu;
}

/// Operands in doubles, as rows with their strides, and the shape.
struct Operands {
  std::vector<std::int32_t> cu_q, cu_k, key_lens;
  AttentionShape shape{};
  std::int64_t kv_rows = 0;
  std::int64_t k_at = 0;  ///< first column of k and v in their buffer
  std::int64_t v_at = 0;
  std::vector<double> q, k, v, dout;  ///< fused: k and v are copies of q's buffer
  std::vector<float> slopes;

  Operands(const Operands&) = delete;  // the shape points into it
  Operands& operator=(const Operands&) = delete;
  explicit Operands(const Sizes& sizes)
      : cu_q(cumulated(sizes.n_q)), cu_k(cumulated(sizes.n_k)), key_lens(sizes.key_lens) {
    AttentionShape& s = shape;
    s.T = cu_q.back() + sizes.padding;
    kv_rows = std::max<std::int64_t>(cu_k.back(), s.T);
    s.segments = static_cast<std::int64_t>(sizes.n_q.size());
    s.cu_q = cu_q.data();
    s.cu_k = cu_k.data();
    if (!key_lens.empty()) s.key_lens = key_lens.data();
    s.max_seqlen = *std::max_element(sizes.n_k.begin(), sizes.n_k.end());
    s.heads = sizes.heads;
    s.kv_heads = sizes.kv_heads;
    s.head_dim = sizes.head_dim;
    s.window = sizes.window;
    s.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(s.head_dim)));
    const std::int64_t q_width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim;
    const std::int64_t fused_width = q_width + 2 * kv_width;
    s.q_stride = sizes.fused ? fused_width : q_width + 3;
    s.kv_stride = sizes.fused ? fused_width : kv_width;
    s.out_stride = q_width + 1;
    k_at = sizes.fused ? q_width : 0;
    v_at = sizes.fused ? q_width + kv_width : 0;
    if (sizes.grouped) {
      k_at = s.group() * s.head_dim;
      v_at = k_at + s.head_dim;
      s.q_group_stride = s.kv_head_stride = v_at + s.head_dim;
    }
    for (std::int64_t h = 0; sizes.alibi && h < s.heads; ++h) slopes.push_back(0.4F / static_cast<float>(h + 1));
    if (sizes.alibi) s.alibi_slopes = slopes.data();
    s.softcap = sizes.softcap;
    s.dropout = {.probability = sizes.dropout, .seed = 5, .sample = 7, .site = 11};
    q = uniform(kv_rows * s.q_stride, 1, -2.0, 2.0);
    k = sizes.fused ? q : uniform(kv_rows * s.kv_stride, 2, -2.0, 2.0);
    v = sizes.fused ? q : uniform(kv_rows * s.kv_stride, 3);
    dout = uniform(s.T * s.out_stride, 4);
  }
  [[nodiscard]] std::int64_t out_count() const { return shape.T * shape.out_stride; }
};

/// Storage of one dtype made from doubles.
template <typename T>
std::vector<T> stored(const std::vector<double>& values) {
  std::vector<T> result;
  for (const double v : values) result.push_back(static_cast<T>(static_cast<float>(v)));
  return result;
}

template <typename T>
std::vector<double> doubles(const std::vector<T>& values) {
  std::vector<double> result;
  for (const T v : values) result.push_back(test::as_double(v));
  return result;
}

/// What both passes give, as doubles.
struct Results {
  std::vector<double> out, lse, dq, dk, dv;
};

constexpr double untouched = 3.0;

/// Both passes by the definition. Backward takes the output that was stored, where there is one: its rounding is part
/// of the input.
Results reference_results(const Operands& o, const std::vector<double>& q, const std::vector<double>& k,
                          const std::vector<double>& v, const std::vector<double>& dout,
                          const std::vector<double>* stored_out = nullptr) {
  const AttentionShape& s = o.shape;
  Results r;
  r.out.assign(static_cast<std::size_t>(o.out_count()), untouched);
  r.lse.assign(static_cast<std::size_t>(s.heads * s.T), untouched);
  r.dq.assign(q.size(), untouched), r.dk.assign(k.size(), untouched), r.dv.assign(v.size(), untouched);
  reference::attention_forward(r.out.data(), r.lse.data(), q.data(), k.data() + o.k_at, v.data() + o.v_at, s);
  const std::vector<double>& out = stored_out != nullptr ? *stored_out : r.out;
  reference::attention_backward(r.dq.data(), r.dk.data() + o.k_at, r.dv.data() + o.v_at, dout.data(), out.data(),
                                r.lse.data(), q.data(), k.data() + o.k_at, v.data() + o.v_at, s);
  return r;
}

/// The CPU kernels in storage type T on a workspace of exactly the promised size. dq, dk, dv have buffers of their own.
template <typename T>
Results cpu_results(const Operands& o) {
  const AttentionShape& s = o.shape;
  const auto q = stored<T>(o.q), k = stored<T>(o.k), v = stored<T>(o.v), dout = stored<T>(o.dout);
  const auto fill = [](std::int64_t count) {
    return std::vector<T>(static_cast<std::size_t>(count), static_cast<T>(static_cast<float>(untouched)));
  };
  auto out = fill(o.out_count()), dq = fill(static_cast<std::int64_t>(q.size())),
       dk = fill(static_cast<std::int64_t>(k.size()));
  auto dv = fill(static_cast<std::int64_t>(v.size()));
  std::vector<float> lse(static_cast<std::size_t>(s.heads * s.T), static_cast<float>(untouched));
  const std::int64_t bytes = ops::attention_workspace_bytes(s, omp_get_max_threads());
  // NaN everywhere: nothing may be read that was not written, not even to be multiplied by zero.
  std::vector<float> workspace(static_cast<std::size_t>(bytes / 4 + 32), std::numeric_limits<float>::quiet_NaN());
  Exec exec;
  exec.workspace = reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(workspace.data()) + 63) / 64 * 64);
  exec.workspace_bytes = bytes;
  const auto data = [](auto& x) { return Data{x.data(), dtype_of<T>}; };
  const auto read = [](const auto& x, std::int64_t at) { return ConstData{x.data() + at, dtype_of<T>}; };
  ops::attention_forward(exec, data(out), lse.data(), read(q, 0), read(k, o.k_at), read(v, o.v_at), s);
  ops::attention_backward(exec, data(dq), data(dk).at(o.k_at), data(dv).at(o.v_at), read(dout, 0), read(out, 0),
                          lse.data(), read(q, 0), read(k, o.k_at), read(v, o.v_at), s);
  const auto* end = reinterpret_cast<const float*>(static_cast<const char*>(exec.workspace) + bytes);
  for (; end < workspace.data() + workspace.size(); ++end)
    EXPECT_TRUE(std::isnan(*end)) << "written behind the workspace";
  return {doubles(out), doubles(lse), doubles(dq), doubles(dk), doubles(dv)};
}

// --- the definition
// ---------------------------------------------------------------------------------------------------------

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

// By hand: two keys, values 1 and 3. The first query sees one key; the second has scores 0 and ln 3, so weights 1/4 and
// 3/4.
TEST(AttentionReferenceByHand, WeighsTheValues) {
  const std::vector<std::int32_t> cu = {0, 2};
  const AttentionShape s{2, 1, cu.data(), cu.data(), 2, 1, 1, 2, 2, 2, 2, 1.0F};
  const double ln3 = std::log(3.0);
  const std::vector<double> q = {5, 0, 1, 0}, k = {0, 0, ln3, 0}, v = {1, 1, 3, 3};
  std::vector<double> out(4), lse(2);

  reference::attention_forward(out.data(), lse.data(), q.data(), k.data(), v.data(), s);

  EXPECT_DOUBLE_EQ(out[0], 1.0);
  EXPECT_NEAR(out[2], 0.25 * 1 + 0.75 * 3, 1e-15);
  EXPECT_NEAR(lse[1], std::log(4.0), 1e-15);
}

// --- the CPU kernels
// --------------------------------------------------------------------------------------------------------

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
    if (on_device && !std::get<1>(GetParam()).key_lens.empty()) GTEST_SKIP() << "skipped: on the CPU only";
    cpu::cap_isa(std::get<0>(GetParam()));
  }
  void TearDown() override { cpu::cap_isa(cpu::detected_isa()); }
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

TEST_P(Attention, AgreesWithTheDefinitionInF32) {
  const Operands o(std::get<1>(GetParam()));
  const Results expected = reference_results(o, o.q, o.k, o.v, o.dout);

  const Results actual = cpu_results<float>(o);

  expect_same(actual, expected, tolerance_for(DType::f32, length_of_sums(o)));
}

/// Rounded once, when stored; the sums are those of f32. A GPU's products take the weights, too, in the storage type,
/// of which a row adds up to one.
test::Tolerance tolerance_of_storage(DType dtype, const Operands& o) {
  const double weights = on_device ? tolerance_for(dtype).relative : 0.0;
  return {tolerance_for(dtype).relative, tolerance_for(DType::f32, length_of_sums(o)).absolute + weights};
}

TEST_P(Attention, AgreesWithTheDefinitionInBf16) {
  const Operands o(std::get<1>(GetParam()));
  const auto rounded = [](const std::vector<double>& x) { return doubles(stored<bfloat16>(x)); };

  const Results actual = cpu_results<bfloat16>(o);

  const Results expected = reference_results(o, rounded(o.q), rounded(o.k), rounded(o.v), rounded(o.dout), &actual.out);

  expect_same(actual, expected, tolerance_of_storage(DType::bf16, o));
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
  std::vector<Results> results;
  for (const int threads : {1, 2, 3}) {
    omp_set_num_threads(threads);
    results.push_back(cpu_results<float>(o));
  }
  omp_set_num_threads(before);
  for (const Results& r : results) {
    EXPECT_EQ(r.out, results[0].out);
    EXPECT_EQ(r.lse, results[0].lse);
    EXPECT_EQ(r.dq, results[0].dq);
    EXPECT_EQ(r.dk, results[0].dk);
    EXPECT_EQ(r.dv, results[0].dv);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Attention,
                         testing::Combine(testing::Values(cpu::Isa::baseline, cpu::Isa::avx2, cpu::Isa::avx512),
                                          testing::ValuesIn(cases)),
                         [](const auto& info) {
                           return std::string(cpu::name_of(std::get<0>(info.param))) + "_" +
                                  std::get<1>(info.param).name;
                         });

// By hand: a cap of 2 turns the scores 0 and 2 atanh(0.5) into 0 and 1; a slope of ln 2 then halves the first key's
// weight once more.
TEST(AttentionReferenceByHand, CapsAndBiasesScores) {
  const std::vector<std::int32_t> cu = {0, 2};
  const std::vector<float> slopes = {static_cast<float>(std::log(2.0))};
  AttentionShape s{2, 1, cu.data(), cu.data(), 2, 1, 1, 2, 2, 2, 2, 1.0F};
  s.softcap = 2.0F;
  s.alibi_slopes = slopes.data();
  const std::vector<double> q = {5, 0, 1, 0}, k = {0, 0, 2 * std::atanh(0.5), 0}, v = {1, 1, 3, 3};
  std::vector<double> out(4), lse(2);

  reference::attention_forward(out.data(), lse.data(), q.data(), k.data(), v.data(), s);

  const double first = 0.5, second = std::exp(1.0);
  EXPECT_NEAR(out[2], (first * 1 + second * 3) / (first + second), 1e-7);
}

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
