// SPDX-License-Identifier: Apache-2.0
/// The bytes of each stage against the formulas of the ZeRO paper (table 1 there), for any number of ranks.
#include <gtest/gtest.h>

#include <algorithm>

#include "comm/plan_communicator.hpp"
#include "core/error.hpp"
#include "core/memory_plan.hpp"
#include "unit/zero/fake_model.hpp"
#include "zero/partition.hpp"

namespace dstrain::test::plan_test {
namespace {

/// Llama-2-7B in sizes: nothing is allocated for it.
ModelLayout large_layout() {
  ModelLayout layout;
  const std::int64_t hidden = 4096;
  append_tensor(layout, 0, "embed", {32'000, hidden});
  for (int b = 1; b <= 32; ++b) {
    append_tensor(layout, b, "qkvo." + std::to_string(b), {4 * hidden, hidden});
    append_tensor(layout, b, "mlp." + std::to_string(b), {3 * 11'008, hidden});
  }
  append_tensor(layout, 33, "norm", {hidden});
  append_tensor(layout, 33, "lm_head", {32'000, hidden});
  finish_layout(layout);
  return layout;
}

std::int64_t bytes_of(const MemoryPlan& plan, std::string_view prefix) {
  std::int64_t bytes = 0;
  for (const PlannedBuffer& buffer : plan.buffers()) {
    if (std::string_view(buffer.name).starts_with(prefix)) bytes += buffer.bytes();
  }
  return bytes;
}

MemoryPlan plan_of(const ModelLayout& layout, const ZeroOptions& options, int ranks) {
  MemoryPlan plan;
  (void)plan_zero(plan, layout, options, ranks);
  plan.finalize();
  return plan;
}

/// `bytes` is `expected` but for the padding to whole chunks on whole ranks.
void expect_close(std::int64_t bytes, double expected) {
  EXPECT_GE(static_cast<double>(bytes), expected);
  EXPECT_LE(static_cast<double>(bytes), expected * 1.07);
}

class PlanBytes : public testing::TestWithParam<int> {};

TEST_P(PlanBytes, OfStatesFollowTheFormulas) {
  const int ranks = GetParam();
  const ModelLayout layout = large_layout();
  const auto n = static_cast<double>(layout.parameters);
  for (const DType compute : {DType::f32, DType::bf16}) {
    const double weight = static_cast<double>(size_of(compute));
    const double master = compute == DType::f32 ? 0.0 : 4.0;
    for (int stage = 0; stage <= 3; ++stage) {
      const MemoryPlan plan = plan_of(layout, {.stage = stage, .compute = compute}, ranks);
      const double sharded = stage >= 1 ? n / ranks : n;

      expect_close(bytes_of(plan, "parameters/weights"), weight * (stage == 3 ? n / ranks : n));
      expect_close(bytes_of(plan, "optimizer/exp_avg"), 8.0 * sharded);
      expect_close(bytes_of(plan, "optimizer/master_weights"), master * sharded);
      const double gradients = stage >= 2 ? n / ranks : n;
      expect_close(bytes_of(plan, ranks > 1 && stage >= 2 ? "gradients/shard" : "gradients/full"), 4.0 * gradients);
    }
  }
}

TEST_P(PlanBytes, OfTransientsAreAFewUnits) {
  const int ranks = GetParam();
  if (ranks == 1) GTEST_SKIP() << "one rank needs none";
  const ModelLayout layout = large_layout();
  std::int64_t largest_block = partition(layout.units[1].parts[0], ranks).padded;

  const MemoryPlan plan = plan_of(layout, {.stage = 3, .compute = DType::bf16}, ranks);

  // Two blocks and one of embedding or head, gathered; one unit's gradient: a block is larger than the useful bucket.
  const std::int64_t edge = std::max(partition(layout.units.front().parts[0], ranks).padded,
                                     partition(layout.units.back().parts[0], ranks).padded);
  EXPECT_EQ(bytes_of(plan, "parameters/gathered"), 2 * (2 * largest_block + edge));
  EXPECT_EQ(bytes_of(plan, "gradients/bucket"), 4 * std::max(largest_block, edge));
  EXPECT_EQ(bytes_of(plan, "gradients/first_unit"), 0);
}

INSTANTIATE_TEST_SUITE_P(Ranks, PlanBytes, testing::Values(1, 2, 3, 8, 60));

TEST(Plan, OfEveryCategoryIsNamed) {
  const MemoryPlan plan = plan_of(fake_layout({}), {.stage = 3, .compute = DType::bf16}, 4);

  for (const PlannedBuffer& buffer : plan.buffers()) {
    const std::string category = buffer.name.substr(0, buffer.name.find('/'));
    EXPECT_TRUE(category == "parameters" || category == "gradients" || category == "optimizer") << buffer.name;
  }
}

TEST(Plan, BoundsBucketsByWhatIsUseful) {
  FakeShape shape{.vocabulary = 1'000, .hidden = 1'024, .blocks = 40};  // 40 blocks of about 3.7 million
  const ModelLayout layout = fake_layout(shape);

  const MemoryPlan by_default = plan_of(layout, {.stage = 2}, 2);
  const MemoryPlan small = plan_of(layout, {.stage = 2, .reduce_bucket_size = 5'000'000}, 2);
  const MemoryPlan tiny = plan_of(layout, {.stage = 2, .reduce_bucket_size = 1}, 2);

  EXPECT_EQ(bytes_of(by_default, "gradients/bucket"), 4 * 25'000'000);
  EXPECT_EQ(bytes_of(small, "gradients/bucket"), 4 * 5'000'000);
  EXPECT_EQ(bytes_of(tiny, "gradients/bucket"), 4 * partition(layout.units[40].parts[0], 2).padded);
}

TEST(Plan, GivesAHeldOpenEmbeddingItsOwnGradientBuffer) {
  const ModelLayout tied = fake_layout({.tied = true});
  const ModelLayout untied = fake_layout({.tied = false});

  EXPECT_EQ(bytes_of(plan_of(tied, {.stage = 2}, 2), "gradients/first_unit"),
            4 * partition(tied.units[0].parts[0], 2).padded);
  EXPECT_EQ(bytes_of(plan_of(untied, {.stage = 2}, 2), "gradients/first_unit"), 0);
}

TEST(Plan, LeavesOutWhatIsNotAskedFor) {
  const ModelLayout layout = fake_layout({});

  const MemoryPlan weights_only = plan_of(layout, {.stage = 3, .train = false}, 2);
  const MemoryPlan no_moments = plan_of(layout, {.stage = 1, .optimizer = false}, 2);
  const MemoryPlan no_prefetch = plan_of(layout, {.stage = 3, .stage3_prefetch_bucket_size = 0}, 2);

  EXPECT_EQ(bytes_of(weights_only, "gradients/") + bytes_of(weights_only, "optimizer/"), 0);
  EXPECT_GT(bytes_of(no_moments, "gradients/full"), 0);
  EXPECT_EQ(bytes_of(no_moments, "optimizer/"), 0);
  EXPECT_LT(bytes_of(no_prefetch, "parameters/gathered"),
            bytes_of(plan_of(layout, {.stage = 3}, 2), "parameters/gathered"));
}

TEST(Plan, IsWhatTheArenaAllocates) {
  const ModelLayout layout = fake_layout({});
  for (int stage = 0; stage <= 3; ++stage) {
    PlanCommunicator comm(1, 3);

    const StoreUnderTest store = make_store(layout, {.stage = stage}, comm);

    for (const MemoryKind kind : {MemoryKind::host, MemoryKind::registered}) {
      EXPECT_EQ(store.arena->allocated_bytes(kind), plan_of(layout, {.stage = stage}, 3).arena_bytes(kind));
    }
  }
}

TEST(Plan, RefusesOptionsThatMeanNothing) {
  MemoryPlan plan;
  const ModelLayout layout = fake_layout({});

  EXPECT_THROW((void)plan_zero(plan, layout, {.stage = 4}, 1), ConfigError);
  EXPECT_THROW((void)plan_zero(plan, layout, {.stage = -1}, 1), ConfigError);
  EXPECT_THROW((void)plan_zero(plan, layout, {.compute = DType::f64}, 1), ConfigError);
  EXPECT_THROW((void)plan_zero(plan, layout, {.reduce_bucket_size = 0}, 1), ConfigError);
  EXPECT_THROW((void)plan_zero(plan, layout, {.stage3_prefetch_bucket_size = -1}, 1), ConfigError);
  EXPECT_THROW((void)plan_zero(plan, layout, {}, 0), Error);
}

}  // namespace
}  // namespace dstrain::test::plan_test
