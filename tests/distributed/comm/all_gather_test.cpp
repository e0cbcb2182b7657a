// SPDX-License-Identifier: Apache-2.0
/// all_gather for every placement of ranks, kind of buffer and way of overlapping.
#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.hpp"
#include "layouts.hpp"

namespace dstrain::all_gather_test {
namespace {

using test::Layout;

/// Which of a call's buffers lie in registered memory.
enum class Memory { plain, shard_registered, full_registered, both_registered };

/// A value that tells rank, round and place.
std::uint16_t mark(int rank, int round, std::int64_t i) {
  return static_cast<std::uint16_t>(rank * 20'011 + round * 257 + i * 7 + 1);
}

class AllGather : public testing::TestWithParam<Layout> {
 protected:
  void SetUp() override { comm = std::make_unique<MpiCommunicator>(test::options_of(GetParam())); }
  void TearDown() override { comm->close(); }

  void fill(std::uint16_t* shard, std::int64_t count, int round) const {
    for (std::int64_t i = 0; i < count; ++i) shard[i] = mark(comm->rank(), round, i);
  }
  /// The number of elements that are not what their owner put there.
  [[nodiscard]] std::int64_t wrong(const std::uint16_t* full, std::int64_t count, int round) const {
    std::int64_t errors = 0;
    for (int r = 0; r < comm->size(); ++r) {
      for (std::int64_t i = 0; i < count; ++i) errors += full[r * count + i] != mark(r, round, i) ? 1 : 0;
    }
    return errors;
  }

  std::unique_ptr<MpiCommunicator> comm;
};

TEST_P(AllGather, BringsEveryShardToEveryRank) {
  constexpr std::int64_t most = 90'001;  // bytes: several pieces
  auto* registered_shard = static_cast<std::uint16_t*>(comm->allocate_registered(most * 2));
  auto* registered_full = static_cast<std::uint16_t*>(comm->allocate_registered(most * 2 * comm->size()));
  int round = 0;
  for (const std::int64_t count : {std::int64_t{0}, std::int64_t{1}, std::int64_t{33}, std::int64_t{5000}, most}) {
    for (const auto memory :
         {Memory::plain, Memory::shard_registered, Memory::full_registered, Memory::both_registered}) {
      for (const bool in_place : {false, true}) {
        ++round;
        std::vector<std::uint16_t> plain_shard(static_cast<std::size_t>(count)),
            plain_full(static_cast<std::size_t>(count * comm->size()));
        auto* full = memory == Memory::full_registered || memory == Memory::both_registered ? registered_full
                                                                                            : plain_full.data();
        auto* shard = memory == Memory::shard_registered || memory == Memory::both_registered ? registered_shard
                                                                                              : plain_shard.data();
        if (in_place) shard = full + comm->rank() * count;
        std::fill_n(full, count * comm->size(), std::uint16_t{0});
        fill(shard, count, round);

        comm->all_gather(ConstView(shard, count, DType::bf16), View(full, count * comm->size(), DType::bf16), Stream{},
                         "test");

        EXPECT_EQ(wrong(full, count, round), 0)
            << count << " elements, memory " << static_cast<int>(memory) << (in_place ? ", in place" : "");
      }
    }
  }
}

// An optimizer step writes the shard right after the gather of the step before.
TEST_P(AllGather, RegisteredShardsAreFreeAfterTheCall) {
  constexpr std::int64_t count = 4099;
  auto* full = static_cast<std::uint16_t*>(comm->allocate_registered(count * 2 * comm->size()));
  for (int round = 0; round < 50; ++round) {
    fill(full + comm->rank() * count, count, round);

    comm->all_gather(ConstView(full + comm->rank() * count, count, DType::bf16),
                     View(full, count * comm->size(), DType::bf16), Stream{}, "rounds");

    ASSERT_EQ(wrong(full, count, round), 0) << "round " << round;
    comm->barrier("everyone has looked");
  }
}

// Ranks may differ in what is registered, and a call may have more buffers than one exchange names.
TEST_P(AllGather, TakesManyBuffersOfMixedKinds) {
  constexpr std::size_t buffers = 70;
  constexpr std::int64_t count = 41;
  const std::int64_t full_count = count * comm->size();
  auto* registered = static_cast<std::uint16_t*>(comm->allocate_registered(buffers * full_count * 2));
  std::vector<std::uint16_t> plain(buffers * static_cast<std::size_t>(full_count));
  std::vector<AllGatherPart> parts;
  for (std::size_t b = 0; b < buffers; ++b) {
    auto* full = ((b + static_cast<std::size_t>(comm->rank())) % 2 == 0 ? registered : plain.data()) + b * full_count;
    auto* shard = full + comm->rank() * count;
    fill(shard, count, static_cast<int>(b));
    parts.push_back({ConstView(shard, count, DType::bf16), View(full, full_count, DType::bf16)});
  }

  comm->all_gather(parts, Stream{}, "many");

  for (std::size_t b = 0; b < buffers; ++b)
    EXPECT_EQ(wrong(parts[b].full.as<std::uint16_t>(), count, static_cast<int>(b)), 0);
}

TEST_P(AllGather, RefusesWrongShapesBeforeSending) {
  std::vector<float> full(static_cast<std::size_t>(comm->size()) * 2), shard(3);
  EXPECT_THROW(comm->all_gather(ConstView(std::span<const float>(shard)), View(std::span(full)), Stream{}, "counts"),
               ShapeError);
  EXPECT_THROW(comm->all_gather(ConstView(shard.data(), 2, DType::i32), View(std::span(full)), Stream{}, "dtypes"),
               ShapeError);

  comm->barrier("still usable");
}

INSTANTIATE_TEST_SUITE_P(Layouts, AllGather, testing::ValuesIn(test::all_layouts()),
                         test::layout_name<testing::TestParamInfo<Layout>>);

}  // namespace
}  // namespace dstrain::all_gather_test
