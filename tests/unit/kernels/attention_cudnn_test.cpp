// SPDX-License-Identifier: Apache-2.0
/// Attention handed over to cuDNN, against its definition. On a GPU cuDNN computes; with the emulated kernels its place
/// is taken by loops that read the same places, lengths and statistics: what is tested there is everything around it.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/tolerance.hpp"
#include "unit/kernels/attention_case.hpp"
#include "unit/kernels/kernel_case.hpp"

namespace dstrain {
namespace {

using test::all_close;
using test::cpu_results;
using test::doubles;
using test::Operands;
using test::reference_results;
using test::Results;
using test::Sizes;
using test::stored;
using test::tolerance_for;

const Sizes cases[] = {
    {"one_segment", {100}, {100}, 4, 4, 64, 0, 28, true},
    {"grouped_heads", {130, 61}, {130, 61}, 8, 2, 64, 0, 1, true},
    {"heads_of_80", {33, 7, 1}, {33, 7, 1}, 4, 2, 80, 0, 7, true},
    {"heads_of_96", {33, 70}, {33, 70}, 2, 2, 96, 0, 25, true},
    {"heads_of_128", {64, 64}, {64, 64}, 4, 1, 128, 0, 0, true},
    {"batches_and_singles",
     {5, 3, 260, 1, 2, 9, 20, 30, 1, 1, 7, 300},
     {5, 3, 260, 1, 2, 9, 20, 30, 1, 1, 7, 300},
     2,
     1,
     16,
     0,
     1,
     true},
    {"empty_segments", {0, 17, 0, 30}, {0, 17, 0, 30}, 2, 1, 16, 0, 17, true},
    {"window", {300, 20}, {300, 20}, 2, 1, 32, 33, 4, true},
    {"single_heads_in_groups", {67}, {67}, 4, 4, 16, 0, 13, true, true},
};

/// Rows that begin at multiples of 16 bytes; prepared.
void prepare(Operands& o, DType dtype) {
  o.shape.out_stride = o.shape.heads * o.shape.head_dim;
  o.shape.kernels = AttentionKernels::cudnn;
  const std::int64_t bytes = ops::attention_workspace_bytes(o.shape, omp_get_max_threads());
  std::vector<char> workspace(static_cast<std::size_t>(bytes) + 256);
  Exec exec;
  exec.workspace = reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(workspace.data()) + 255) / 256 * 256);
  exec.workspace_bytes = bytes;
  ops::attention_prepare(exec, o.shape, dtype, true);
}

std::string choice(const Operands& o, DType dtype, bool backward) {
  return ops::attention_choice(o.shape, dtype, backward);
}

template <typename T>
void expect_definition(const Sizes& sizes) {
  constexpr DType dtype = dtype_of<T>;
  Operands o(sizes);
  prepare(o, dtype);
  if (choice(o, dtype, false).compare(0, 5, "cuDNN") != 0) GTEST_SKIP() << "skipped: " << choice(o, dtype, false);
  const auto rounded = [](const std::vector<double>& x) { return doubles(stored<T>(x)); };

  const Results actual = cpu_results<T>(o);

  const Results expected = reference_results(o, rounded(o.q), rounded(o.k), rounded(o.v), rounded(o.dout), &actual.out);
  const std::int64_t sums = 4 * std::max<std::int64_t>(o.shape.max_seqlen, o.shape.head_dim);
  const test::Tolerance tolerance{tolerance_for(dtype).relative,
                                  tolerance_for(DType::f32, sums).absolute + tolerance_for(dtype).relative};
  EXPECT_TRUE(all_close(actual.out, expected.out, tolerance)) << "out";
  EXPECT_TRUE(all_close(actual.lse, expected.lse, tolerance)) << "lse";
  EXPECT_TRUE(all_close(actual.dq, expected.dq, tolerance)) << "dq";
  EXPECT_TRUE(all_close(actual.dk, expected.dk, tolerance)) << "dk";
  EXPECT_TRUE(all_close(actual.dv, expected.dv, tolerance)) << "dv";
}

class CudnnAttention : public testing::TestWithParam<Sizes> {};

TEST_P(CudnnAttention, AgreesWithTheDefinitionInBf16) { expect_definition<bfloat16>(GetParam()); }
TEST_P(CudnnAttention, AgreesWithTheDefinitionInF16) { expect_definition<float16>(GetParam()); }

TEST_P(CudnnAttention, GivesTheSameBitsAgain) {
  Operands o(GetParam());
  prepare(o, DType::bf16);
  const Results once = cpu_results<bfloat16>(o);
  const Results again = cpu_results<bfloat16>(o);
  EXPECT_EQ(once.out, again.out);
  EXPECT_EQ(once.dq, again.dq);
  EXPECT_EQ(once.dk, again.dk);
  EXPECT_EQ(once.dv, again.dv);
}

INSTANTIATE_TEST_SUITE_P(Sizes, CudnnAttention, testing::ValuesIn(cases),
                         [](const auto& info) { return info.param.name; });

// 384 MiB of scores' gradients: half of the heads at a time.
TEST(CudnnAttentionHeads, GoInTurnsWhereTheyWouldTakeTooMuch) {
  const Sizes sizes{"many_heads", std::vector<std::int32_t>(8, 257), std::vector<std::int32_t>(8, 257), 96, 48, 8, 0, 0,
                    true};
  Operands o(sizes);
  prepare(o, DType::bf16);
  const std::string chosen = choice(o, DType::bf16, true);
  if (chosen.compare(0, 5, "cuDNN") != 0) GTEST_SKIP() << "skipped: " << chosen;
  EXPECT_EQ(chosen, "cuDNN, 48 of 96 heads at a time");
  expect_definition<bfloat16>(sizes);
}

// A shape that cuDNN does not take runs on the own kernels, with the same result as without it.
TEST(CudnnAttentionChoice, LeavesWhatItDoesNotTakeToOwnKernels) {
  const Sizes sizes{"dropout", {70}, {70}, 2, 2, 16, 0, 2, true, false, false, 0.0F, 0.25F};
  Operands own(sizes);
  own.shape.out_stride = 32;
  Operands asked(sizes);
  prepare(asked, DType::bf16);

  EXPECT_EQ(choice(asked, DType::bf16, true).compare(0, 3, "own"), 0) << choice(asked, DType::bf16, true);
  EXPECT_EQ(cpu_results<bfloat16>(asked).dq, cpu_results<bfloat16>(own).dq);
}

// Forward by one, backward by the other: the log-sum-exp has one form.
TEST(CudnnAttentionChoice, KeepsTheLogSumExpInOneForm) {
  Operands o(cases[1]);
  prepare(o, DType::bf16);
  Operands own(cases[1]);
  own.shape.out_stride = o.shape.out_stride;

  const Results theirs = cpu_results<bfloat16>(o);
  const Results ours = cpu_results<bfloat16>(own);

  EXPECT_TRUE(all_close(theirs.lse, ours.lse, tolerance_for(DType::f32, 512)));
}

// Nothing was prepared for these heads: a step compiles nothing.
TEST(CudnnAttentionChoice, NeedsPreparation) {
  Operands o({"unprepared", {20}, {20}, 6, 3, 48, 0, 0, true});
  o.shape.out_stride = 6 * 48;
  o.shape.kernels = AttentionKernels::cudnn;
  EXPECT_EQ(choice(o, DType::bf16, true).compare(0, 3, "own"), 0) << choice(o, DType::bf16, true);
  cpu_results<bfloat16>(o);
}

}  // namespace
}  // namespace dstrain
