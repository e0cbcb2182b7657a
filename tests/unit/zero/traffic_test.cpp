// SPDX-License-Identifier: Apache-2.0
/// What each stage sends: calls and bytes of one step against theory (Rajbhandari et al., section 7).
#include <gtest/gtest.h>

#include "unit/zero/fake_model.hpp"
#include "unit/zero/spy_communicator.hpp"
#include "zero/partition.hpp"

namespace dstrain::test::traffic_test {
namespace {

constexpr int micro_steps = 3;

struct OneStep {
  FakeShape shape{.vocabulary = 50, .hidden = 40, .blocks = 4};
  ModelLayout layout = fake_layout(shape);
  SpyCommunicator comm;
  StoreUnderTest store;

  OneStep(const ZeroOptions& options, int ranks, int rank = 0)
      : comm(rank, ranks), store(make_store(layout, options, comm)) {
    comm.reset_counts();
  }
  /// Elements of one unit, or of all, as they are sent.
  [[nodiscard]] std::int64_t padded(int unit) const {
    return partition(layout.units[static_cast<std::size_t>(unit)].parts[0], comm.size()).padded;
  }
  [[nodiscard]] std::int64_t padded() const {
    std::int64_t sum = 0;
    for (int u = 0; u < layout.unit_count(); ++u) sum += padded(u);
    return sum;
  }
  [[nodiscard]] std::int64_t chunk_sum_bytes() const {
    std::int64_t chunks = 0;
    for (int u = 0; u < layout.unit_count(); ++u)
      chunks += padded(u) / layout.units[static_cast<std::size_t>(u)].parts[0].chunk;
    return chunks * 8;
  }
  void step() {
    store->begin_step();
    for (int m = 0; m < micro_steps; ++m) {
      store->begin_micro_step(comm.size(), m + 1 == micro_steps);
      run_micro_step(*store.store, layout, shape.tied, exact_gradient, m);
    }
    (void)store->reduce_gradients();
    store->optimizer_step(adamw_parameters(1, 1.0), alternating_decay(layout));
  }
  [[nodiscard]] std::int64_t reduced() const { return comm.count(CommOp::reduce_scatter).buffer_bytes; }
  [[nodiscard]] std::int64_t gathered() const {
    return comm.count(CommOp::all_gather).buffer_bytes - chunk_sum_bytes();
  }
};

class StageTraffic : public testing::TestWithParam<int> {};

TEST_P(StageTraffic, OfStageZeroIsOneAllReducePerStep) {
  OneStep s({.stage = 0}, GetParam());

  s.step();

  EXPECT_EQ(s.reduced(), 4 * s.padded());
  EXPECT_EQ(s.gathered(), 4 * s.padded());
}

TEST_P(StageTraffic, OfStageOneIsOneReduceScatterAndOneGatherOfWeightsPerStep) {
  OneStep s({.stage = 1, .compute = DType::bf16}, GetParam());

  s.step();

  EXPECT_EQ(s.reduced(), 4 * s.padded());
  EXPECT_EQ(s.gathered(), 2 * s.padded());
}

TEST_P(StageTraffic, OfStageTwoReducesInEveryMicroStep) {
  OneStep s({.stage = 2, .compute = DType::bf16}, GetParam());

  s.step();

  EXPECT_EQ(s.reduced(), micro_steps * 4 * s.padded());
  EXPECT_EQ(s.gathered(), 2 * s.padded());
}

TEST_P(StageTraffic, OfStageThreeGathersWeightsTwiceInEveryMicroStep) {
  OneStep s({.stage = 3, .compute = DType::bf16}, GetParam());

  s.step();

  // The head's unit is used once, for forward and gradient together; a tied head uses the first unit once more.
  const std::int64_t per_micro_step = 2 * s.padded() - s.padded(s.layout.unit_count() - 1) + s.padded(0);
  EXPECT_EQ(s.reduced(), micro_steps * 4 * s.padded());
  EXPECT_EQ(s.gathered(), micro_steps * 2 * per_micro_step);
}

TEST_P(StageTraffic, OfReproducibleStepsIsTheSameReductionInEveryStage) {
  for (int stage = 0; stage <= 3; ++stage) {
    OneStep s({.stage = stage, .reproducible = true}, GetParam());

    s.step();

    EXPECT_EQ(s.reduced(), micro_steps * 4 * s.padded());
    if (stage <= 2) {  // 0: the sums, 1 and 2: the new weights
      EXPECT_EQ(s.gathered(), 4 * s.padded());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, StageTraffic, testing::Values(2, 3, 8, 100));

TEST(Traffic, OfOneRankIsNothing) {
  for (int stage = 0; stage <= 3; ++stage) {
    OneStep s({.stage = stage}, 1);

    s.step();

    EXPECT_EQ(s.comm.count(CommOp::reduce_scatter).calls + s.comm.count(CommOp::all_gather).calls, 0);
  }
}

TEST(Traffic, GroupsConsecutiveUnitsByBucketSize) {
  OneStep whole({.stage = 2}, 4);
  OneStep single({.stage = 2, .reduce_bucket_size = 1}, 4);
  const std::int64_t block = whole.padded(2);
  OneStep pairs({.stage = 2, .reduce_bucket_size = 2 * block}, 4);

  for (OneStep* s : {&whole, &single, &pairs}) s->step();

  const int units = whole.layout.unit_count();
  EXPECT_EQ(whole.comm.count(CommOp::reduce_scatter).calls, micro_steps);
  EXPECT_EQ(single.comm.count(CommOp::reduce_scatter).calls, micro_steps * units);
  // Blocks differ a little in size: head and the last block wait, the next does not fit behind them, and so on.
  EXPECT_GT(pairs.comm.count(CommOp::reduce_scatter).calls, micro_steps);
  EXPECT_LT(pairs.comm.count(CommOp::reduce_scatter).calls, micro_steps * units);
  EXPECT_EQ(pairs.comm.count(CommOp::reduce_scatter).buffers, micro_steps * units);
  EXPECT_EQ(pairs.reduced(), single.reduced());
}

TEST(Traffic, OfLocalAccumulationIsGroupedToo) {
  for (int stage = 0; stage <= 1; ++stage) {
    OneStep whole({.stage = stage}, 4);
    OneStep single({.stage = stage, .reduce_bucket_size = 1}, 4);

    whole.step();
    single.step();

    EXPECT_EQ(whole.comm.count(CommOp::reduce_scatter).calls, 1);
    EXPECT_EQ(single.comm.count(CommOp::reduce_scatter).calls, single.layout.unit_count());
    EXPECT_EQ(whole.reduced(), single.reduced());
    EXPECT_EQ(whole.gathered(), single.gathered());
  }
}

TEST(Traffic, AsksForTwoLevelsUnlessReproducible) {
  for (int stage = 0; stage <= 3; ++stage) {
    for (const bool reproducible : {false, true}) {
      OneStep s({.stage = stage, .reproducible = reproducible}, 4);

      s.step();

      EXPECT_EQ(s.comm.two_level, !reproducible);
    }
  }
}

TEST(Traffic, AddsToTheSlicesFromTheSecondMicroStepOn) {
  OneStep s({.stage = 2}, 3);

  for (int step = 0; step < 2; ++step) {
    s.store->begin_step();
    s.store->begin_micro_step(3, false);
    run_micro_step(*s.store.store, s.layout, s.shape.tied, exact_gradient, 0);
    s.store->begin_micro_step(2, true);  // sends the first one's
    EXPECT_EQ(s.comm.contributors, 3);
    EXPECT_EQ(s.comm.accumulate, std::vector<bool>(s.comm.accumulate.size(), false));
    run_micro_step(*s.store.store, s.layout, s.shape.tied, exact_gradient, 1);
    (void)s.store->reduce_gradients();
    EXPECT_EQ(s.comm.contributors, 2);
    EXPECT_EQ(s.comm.accumulate, std::vector<bool>(s.comm.accumulate.size(), true));
  }
}

TEST(Traffic, OfALocalSumNamesTheRanksThatHadASlotInAnyMicroStep) {
  for (const auto& [first, second] : {std::pair{3, 1}, std::pair{1, 3}, std::pair{1, 1}}) {
    OneStep s({.stage = 1}, 4);
    s.store->begin_step();
    for (const int contributors : {first, second}) {
      s.store->begin_micro_step(contributors, false);
      run_micro_step(*s.store.store, s.layout, s.shape.tied, exact_gradient, 0);
    }

    (void)s.store->reduce_gradients();

    EXPECT_EQ(s.comm.contributors, std::max(first, second));
  }
}

TEST(Traffic, OfAPrefetchReplacesTheGatherOfTheAcquire) {
  OneStep s({.stage = 3}, 4);
  const Stream stream;

  s.store->prefetch(2, stream);
  EXPECT_EQ(s.comm.count(CommOp::all_gather).calls, 1);
  (void)s.store->acquire(2, stream);
  s.store->prefetch(2, stream);
  (void)s.store->acquire(2, stream);

  EXPECT_EQ(s.comm.count(CommOp::all_gather).calls, 1);
  s.store->release(2, stream);
  (void)s.store->acquire(2, stream);  // still held once
  EXPECT_EQ(s.comm.count(CommOp::all_gather).calls, 1);
  s.store->release(2, stream);
  s.store->release(2, stream);
  (void)s.store->acquire(2, stream);
  EXPECT_EQ(s.comm.count(CommOp::all_gather).calls, 2);
}

}  // namespace
}  // namespace dstrain::test::traffic_test
