// SPDX-License-Identifier: Apache-2.0
/// Slices of units, and the ranges of tensors that follow from them.
#include "zero/partition.hpp"

#include <gtest/gtest.h>

#include "comm/plan_communicator.hpp"
#include "core/memory_plan.hpp"
#include "unit/zero/fake_model.hpp"

namespace dstrain::test::partition_test {
namespace {

PartLayout part_of(std::int64_t count) {
  const std::int64_t chunk = ((count + 1023) / 1024 + 255) / 256 * 256;
  return {count, chunk, (count + chunk - 1) / chunk};
}

/// Adds 1 to every element that a slice covers.
void cover(std::vector<std::vector<int>>& covered, const std::vector<OwnedSlice>& slices) {
  for (const OwnedSlice& slice : slices) {
    auto& tensor = covered.at(static_cast<std::size_t>(slice.tensor));
    ASSERT_GT(slice.count, 0);
    for (std::int64_t i = slice.begin; i < slice.begin + slice.count; ++i) ++tensor.at(static_cast<std::size_t>(i));
  }
}

std::vector<std::vector<int>> nothing_covered(const ModelLayout& layout) {
  std::vector<std::vector<int>> covered;
  for (const TensorLayout& tensor : layout.tensors) covered.emplace_back(static_cast<std::size_t>(tensor.count), 0);
  return covered;
}

void expect_each_covered(const std::vector<std::vector<int>>& covered, int times) {
  for (const auto& tensor : covered) {
    for (const int n : tensor) ASSERT_EQ(n, times);
  }
}

TEST(Partition, CoversEveryElementOnce) {
  for (const std::int64_t count : {1, 255, 256, 257, 5'000, 1'000'003}) {
    for (const int ranks : {1, 2, 3, 7, 64, 1'000}) {
      const PartLayout part = part_of(count);
      const Partition p = partition(part, ranks);

      EXPECT_EQ(p.begin(0), 0);
      EXPECT_EQ(p.end(ranks - 1), count);
      for (int r = 1; r < ranks; ++r) EXPECT_EQ(p.begin(r), p.end(r - 1));
      EXPECT_EQ(p.shard % part.chunk, 0);
      EXPECT_EQ(p.padded, p.shard * ranks);
      EXPECT_GE(p.padded, count);
    }
  }
}

TEST(Partition, LeavesLateRanksEmptyWhereThereAreFewerChunksThanRanks) {
  const Partition p = partition(part_of(300), 4);

  EXPECT_EQ(p.shard, 256);
  EXPECT_EQ(p.end(1) - p.begin(1), 44);
  EXPECT_EQ(p.end(2) - p.begin(2), 0);
  EXPECT_EQ(p.begin(3), 300);
}

class Slices : public testing::TestWithParam<int> {};

TEST_P(Slices, OfAllRanksTogetherAreEveryElementOnce) {
  const int ranks = GetParam();
  const ModelLayout layout = fake_layout({.frozen = true});
  for (int stage = 0; stage <= 3; ++stage) {
    PlanCommunicator comm(0, ranks);
    const StoreUnderTest store = make_store(layout, {.stage = stage}, comm);
    auto owned = nothing_covered(layout);
    auto written = nothing_covered(layout);

    for (int r = 0; r < ranks; ++r) {
      cover(owned, store->owned_by(r));
      cover(written, store->written_by(r));
    }

    expect_each_covered(owned, stage == 0 ? ranks : 1);
    expect_each_covered(written, 1);
  }
}

TEST_P(Slices, InMemoryAreThoseOfTheRank) {
  const int ranks = GetParam();
  const ModelLayout layout = fake_layout({.frozen = true});
  for (int rank = 0; rank < ranks; ++rank) {
    for (int stage = 0; stage <= 3; ++stage) {
      PlanCommunicator comm(rank, ranks);
      const StoreUnderTest store = make_store(layout, {.stage = stage, .compute = DType::bf16}, comm);

      const auto expected = store->owned_by(rank);

      ASSERT_EQ(store->owned().size(), expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i) {
        const OwnedSlice& slice = store->owned()[i];
        const bool frozen = layout.tensors[static_cast<std::size_t>(slice.tensor)].part == PartKind::frozen;
        EXPECT_EQ(slice.tensor, expected[i].tensor);
        EXPECT_EQ(slice.begin, expected[i].begin);
        EXPECT_EQ(slice.count, expected[i].count);
        EXPECT_EQ(slice.master == nullptr, frozen) << "frozen weights have no copy in f32";
        EXPECT_NE(slice.weights.data, nullptr);
        EXPECT_EQ(slice.state("exp_avg") == nullptr, frozen);
        EXPECT_EQ(slice.state("exp_avg_sq") == nullptr, frozen);
        EXPECT_EQ(slice.gradient == nullptr, frozen);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, Slices, testing::Values(1, 2, 3, 4, 16));

}  // namespace
}  // namespace dstrain::test::partition_test
