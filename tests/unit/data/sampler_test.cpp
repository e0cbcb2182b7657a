// SPDX-License-Identifier: Apache-2.0
#include "data/sampler.hpp"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "core/error.hpp"
#include "data_vectors.hpp"

namespace dstrain::test {
namespace {

std::vector<std::int64_t> rows_of_batch(const BatchPlan& plan, std::int64_t epoch, std::int64_t batch) {
  std::vector<std::uint32_t> order(static_cast<std::size_t>(plan.options().rows));
  epoch_order(plan.options(), epoch, order);
  const auto [begin, end] = plan.places(batch);
  std::vector<std::int64_t> rows;
  for (std::int64_t p = begin; p < end; ++p) rows.push_back(order[static_cast<std::size_t>(p % plan.options().rows)]);
  return rows;
}

// Order, shards and the filled tail of torch and accelerate.
TEST(Sampler, DealsTheReferenceBatches) {
  const auto shared = shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const auto root = nlohmann::json::parse(read_text(*shared / "data" / "reference-numerics" / "sampler-vectors.json"));
  ASSERT_EQ(root["cases"].size(), 24U);

  for (const auto& vector : root["cases"]) {
    const int world = vector["world"];
    const std::int64_t epoch = vector["epoch"];
    const BatchPlan plan({.rows = vector["n"],
                          .per_device_train_batch_size = vector["batch"],
                          .virtual_ranks = world,
                          .seed = vector["seed"],
                          .even_batches = true});
    std::vector<std::uint32_t> order(vector["n"].get<std::size_t>());
    epoch_order(plan.options(), epoch, order);

    EXPECT_EQ(order, vector["perm"].get<std::vector<std::uint32_t>>());
    for (int rank = 0; rank < world; ++rank) {
      const auto& shard = vector["shards"][static_cast<std::size_t>(rank)];
      ASSERT_EQ(static_cast<std::int64_t>(shard.size()), plan.micro_steps_per_epoch());
      for (std::size_t m = 0; m < shard.size(); ++m) {
        EXPECT_EQ(rows_of_batch(plan, epoch, static_cast<std::int64_t>(m) * world + rank),
                  shard[m].get<std::vector<std::int64_t>>())
            << vector["n"] << ' ' << world << " rank " << rank;
      }
    }
  }
}

// 13 rows, batch 2, 2 ranks: 4 micro steps; with accumulation 3 an epoch has an update of 3 and one of 1.
TEST(Sampler, TheLastUpdateOfAnEpochHasTheRemainingMicroBatches) {
  const BatchPlan plan({.rows = 13,
                        .per_device_train_batch_size = 2,
                        .gradient_accumulation_steps = 3,
                        .virtual_ranks = 2,
                        .num_train_epochs = 1.5});

  EXPECT_EQ(plan.micro_steps_per_epoch(), 4);
  EXPECT_EQ(plan.steps_per_epoch(), 2);
  EXPECT_EQ(plan.total_steps(), 3);
  EXPECT_EQ(plan.max_slots(), 6);
  EXPECT_EQ(plan.step(0).slots, 6);
  EXPECT_EQ(plan.step(1).slots, 2);
  EXPECT_EQ(plan.step(1).first_batch, 6);
  EXPECT_DOUBLE_EQ(plan.step(0).epoch_after, 0.75);
  EXPECT_DOUBLE_EQ(plan.step(1).epoch_after, 1.0);
  EXPECT_EQ(plan.step(2).epoch, 1);
  EXPECT_EQ(plan.step(2).first_batch, 0);
  EXPECT_EQ(plan.step(2).first_slot, 8);
}

TEST(Sampler, OneProcessKeepsAShortLastBatch) {
  const BatchPlan plan({.rows = 7, .per_device_train_batch_size = 2});

  EXPECT_EQ(plan.places(3).begin, 6);
  EXPECT_EQ(plan.places(3).end, 7);
}

TEST(Sampler, DropLastLeavesOutWhatDoesNotFillAGroup) {
  const BatchPlan plan(
      {.rows = 13, .per_device_train_batch_size = 2, .virtual_ranks = 4, .dataloader_drop_last = true});
  EXPECT_EQ(plan.micro_steps_per_epoch(), 1);

  EXPECT_THROW(
      BatchPlan({.rows = 7, .per_device_train_batch_size = 2, .virtual_ranks = 4, .dataloader_drop_last = true}),
      ConfigError);
}

TEST(Sampler, MaxStepsOverridesEpochs) {
  const BatchPlan plan({.rows = 10, .per_device_train_batch_size = 1, .num_train_epochs = 2, .max_steps = 33});

  EXPECT_EQ(plan.total_steps(), 33);
  EXPECT_EQ(plan.step(32).epoch, 3);
}

// Few rows on many ranks: the rows go round as often as needed, every rank has a full batch.
TEST(Sampler, FewRowsGoRound) {
  const BatchPlan plan({.rows = 3, .per_device_train_batch_size = 2, .virtual_ranks = 4, .disable_shuffling = true});

  ASSERT_EQ(plan.micro_steps_per_epoch(), 1);
  EXPECT_EQ(rows_of_batch(plan, 0, 1), (std::vector<std::int64_t>{2, 0}));
  EXPECT_EQ(rows_of_batch(plan, 0, 3), (std::vector<std::int64_t>{0, 1}));
}

TEST(Sampler, RefusesWhatCannotBeDealt) {
  EXPECT_THROW(BatchPlan({.rows = 0}), ConfigError);
  EXPECT_THROW(BatchPlan({.rows = 4, .per_device_train_batch_size = 0}), ConfigError);
  EXPECT_THROW(BatchPlan({.rows = 4, .num_train_epochs = -1.0}), ConfigError);
  EXPECT_THROW(BatchPlan({.rows = 4, .virtual_ranks = 2, .even_batches = false}), ConfigError);
}

}  // namespace
}  // namespace dstrain::test
