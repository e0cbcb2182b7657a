// SPDX-License-Identifier: Apache-2.0
/// reduce_scatter against a serial left fold, to the last bit, for every placement of ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "core/error.hpp"
#include "layouts.hpp"
#include "support/random.hpp"

namespace dstrain::reduce_scatter_test {
namespace {

using test::Layout;

/// Elements of a shard: none, fewer than a vector, odd, more than the staging memory holds.
const std::vector<std::int64_t> counts = {0, 1, 7, 1000, 20'011};

/// The first elements of a long row that is made once per rank.
template <typename T>
std::vector<T> contribution(int rank, std::int64_t count) {
  static std::map<int, std::vector<T>> rows;
  auto& row = rows[rank];
  if (row.empty()) {
    const auto values =
        test::uniform<float>(counts.back() * test::world_size(), 100 + static_cast<std::uint32_t>(rank), -10, 10);
    for (const float v : values) row.push_back(static_cast<T>(v));
  }
  return {row.begin(), row.begin() + count};
}

/// The contract, in plain words: start with the shard or the first contribution, add the rest in rank order.
template <typename T>
std::vector<float> serial_fold(const std::vector<std::vector<T>>& parts, const float* start, std::int64_t begin,
                               std::int64_t n) {
  std::vector<float> sum(static_cast<std::size_t>(n), 0.0F);
  if (start != nullptr) sum.assign(start, start + n);
  bool first = start == nullptr;
  for (const auto& part : parts) {
    for (std::int64_t i = 0; i < n; ++i) {
      auto& s = sum[static_cast<std::size_t>(i)];
      const auto v = static_cast<float>(part[static_cast<std::size_t>(begin + i)]);
      s = first ? v : s + v;
    }
    first = false;
  }
  return sum;
}

bool same_bits(const std::vector<float>& a, const float* b) {
  return a.empty() || std::memcmp(a.data(), b, a.size() * sizeof(float)) == 0;
}

class ReduceScatter : public testing::TestWithParam<Layout> {
 protected:
  void SetUp() override { comm = std::make_unique<MpiCommunicator>(test::options_of(GetParam())); }
  void TearDown() override { comm->close(); }

  template <typename T>
  void check(std::int64_t count, int contributors, bool accumulate, bool registered, bool two_level);

  /// Expected shard: flat, or node by node in the order of their lowest rank.
  template <typename T>
  std::vector<float> expected(std::int64_t count, int contributors, const float* start, bool two_level) const;

  std::unique_ptr<MpiCommunicator> comm;
  void* registered_ = nullptr;
};

template <typename T>
std::vector<float> ReduceScatter::expected(std::int64_t count, int contributors, const float* start,
                                           bool two_level) const {
  const int size = comm->size();
  const std::int64_t begin = comm->rank() * count;
  const bool levels = two_level && comm->uses_shared_windows() && comm->node_count() > 1;
  if (!levels) {
    std::vector<std::vector<T>> parts;
    for (int r = 0; r < contributors; ++r) parts.push_back(contribution<T>(r, count * size));
    return serial_fold(parts, start, begin, count);
  }
  std::map<int, std::vector<std::vector<T>>> by_node;  // labels rise with the lowest rank in all layouts
  for (int r = 0; r < contributors; ++r) {
    by_node[test::nodes_of(GetParam())[static_cast<std::size_t>(r)]].push_back(contribution<T>(r, count * size));
  }
  std::vector<std::vector<float>> sums;
  for (const auto& [node, parts] : by_node) sums.push_back(serial_fold(parts, nullptr, begin, count));
  return serial_fold(sums, start, 0, count);
}

template <typename T>
void ReduceScatter::check(std::int64_t count, int contributors, bool accumulate, bool registered, bool two_level) {
  const bool contributes = comm->rank() < contributors;
  auto full = contribution<T>(comm->rank(), count * comm->size());
  T* data = full.data();
  if (registered) {
    data = static_cast<T*>(registered_);
    std::copy(full.begin(), full.end(), data);
  }
  const auto start = test::uniform<float>(count, 7 + static_cast<std::uint32_t>(comm->rank()));
  auto shard = start;
  const auto want = expected<T>(count, contributors, accumulate ? start.data() : nullptr, two_level);

  const ReduceScatterPart part{ConstView(contributes ? data : nullptr, count * comm->size(), dtype_of<T>),
                               View(std::span(shard)), accumulate};
  comm->reduce_scatter(std::span(&part, 1), contributors, two_level, Stream{}, "test");

  EXPECT_TRUE(same_bits(want, shard.data()))
      << count << " elements, " << contributors << " contributors" << (accumulate ? ", accumulate" : "")
      << (registered ? ", registered" : "") << (two_level ? ", two levels" : "") << ", " << name_of(dtype_of<T>);
}

TEST_P(ReduceScatter, IsTheLeftFoldInRankOrder) {
  registered_ = comm->allocate_registered(counts.back() * comm->size() * 4);
  for (const std::int64_t count : counts) {
    for (int contributors = 0; contributors <= comm->size(); ++contributors) {
      for (const int variant : {0, 1, 2, 3, 4, 5, 6, 7}) {
        const bool accumulate = (variant & 1) != 0, registered = (variant & 2) != 0, two_level = (variant & 4) != 0;
        check<float>(count, contributors, accumulate, registered, two_level);
        check<bfloat16>(count, contributors, accumulate, registered, two_level);
      }
    }
  }
}

// A peer may write into its registered buffer as soon as its own call is over.
TEST_P(ReduceScatter, RegisteredBuffersAreFreeAfterTheCall) {
  constexpr std::int64_t count = 3000;
  auto* full = static_cast<float*>(comm->allocate_registered(count * comm->size() * 4));
  std::vector<float> shard(count);
  for (int round = 1; round <= 50; ++round) {
    std::fill_n(full, count * comm->size(), static_cast<float>(round));

    comm->reduce_scatter(ConstView(full, count * comm->size(), DType::f32), View(std::span(shard)), Stream{}, "rounds");

    ASSERT_EQ(std::count(shard.begin(), shard.end(), static_cast<float>(round * comm->size())), count);
  }
}

// Some ranks registered, some not; and more buffers than one exchange names.
TEST_P(ReduceScatter, TakesManyBuffersOfMixedKinds) {
  constexpr std::size_t buffers = 100;
  constexpr std::int64_t count = 37;
  const std::int64_t full_count = count * comm->size();
  auto* registered = static_cast<float*>(comm->allocate_registered(buffers * full_count * 4));
  const auto data = test::small_integers(static_cast<std::int64_t>(buffers) * full_count, 5);
  std::vector<float> plain(data), shards(buffers * count);
  std::copy(data.begin(), data.end(), registered);
  std::vector<ReduceScatterPart> parts;
  for (std::size_t b = 0; b < buffers; ++b) {
    float* full = ((b + static_cast<std::size_t>(comm->rank())) % 3 == 0 ? registered : plain.data()) + b * full_count;
    parts.push_back(
        {ConstView(full, full_count, DType::f32), View(shards.data() + b * count, count, DType::f32), false});
  }

  comm->reduce_scatter(parts, comm->size(), false, Stream{}, "many");

  for (std::size_t b = 0; b < buffers; ++b) {
    for (std::int64_t i = 0; i < count; ++i) {
      const float one = data[b * full_count + static_cast<std::size_t>(comm->rank() * count + i)];
      ASSERT_EQ(shards[b * count + static_cast<std::size_t>(i)], one * static_cast<float>(comm->size()));
    }
  }
}

// The shard may be the rank's own slice of an f32 input.
TEST_P(ReduceScatter, WorksInPlace) {
  for (const bool registered : {false, true}) {
    constexpr std::int64_t count = 9001;
    auto own = contribution<float>(comm->rank(), count * comm->size());
    float* full = own.data();
    if (registered) {
      full = static_cast<float*>(comm->allocate_registered(count * comm->size() * 4));
      std::copy(own.begin(), own.end(), full);
    }
    const auto want = expected<float>(count, comm->size(), nullptr, false);

    const View shard(full + comm->rank() * count, count, DType::f32);
    comm->reduce_scatter(ConstView(full, count * comm->size(), DType::f32), shard, Stream{}, "in place");

    EXPECT_TRUE(same_bits(want, shard.as<float>()));
  }
}

TEST_P(ReduceScatter, RefusesWrongShapesBeforeSending) {
  std::vector<float> full(static_cast<std::size_t>(comm->size()) * 2), shard(3);
  EXPECT_THROW(
      comm->reduce_scatter(ConstView(std::span<const float>(full)), View(std::span(shard)), Stream{}, "counts"),
      ShapeError);
  const ReduceScatterPart part{ConstView(std::span<const float>(full)), View(shard.data(), 2, DType::f32), false};
  EXPECT_THROW(comm->reduce_scatter(std::span(&part, 1), comm->size() + 1, false, Stream{}, "contributors"),
               ShapeError);
  const ReduceScatterPart halves{ConstView(full.data(), 2 * comm->size(), DType::f16),
                                 View(shard.data(), 2, DType::f32), false};
  EXPECT_THROW(comm->reduce_scatter(std::span(&halves, 1), 1, false, Stream{}, "dtype"), ShapeError);

  comm->barrier("still usable");
}

INSTANTIATE_TEST_SUITE_P(Layouts, ReduceScatter, testing::ValuesIn(test::all_layouts()),
                         test::layout_name<testing::TestParamInfo<Layout>>);

}  // namespace
}  // namespace dstrain::reduce_scatter_test
