// SPDX-License-Identifier: Apache-2.0
/// Streams against datasets' own (tests/oracle/make_dataset_order.py).
#include "data/row_stream.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <numeric>

#include "data_vectors.hpp"

namespace dstrain::test {
namespace {

using Numbers = std::vector<std::uint32_t>;

nlohmann::json stream_oracle() {
  std::ifstream file(DSTRAIN_SOURCE_DIR "/tests/oracle/dataset_order.json");
  return nlohmann::json::parse(file);
}

/// Counts from `begin` to `end`, again and again.
class Counter {
 public:
  Counter(std::uint32_t begin, std::uint32_t end) : begin_(begin), end_(end), at_(begin) {}
  bool next(std::uint32_t& out) {
    if (at_ == end_) {
      at_ = begin_;
      return false;
    }
    out = at_++;
    return true;
  }

 private:
  std::uint32_t begin_, end_, at_;
};

TEST(MixedStream, InterleavesAsDatasetsDoes) {
  const auto cases = stream_oracle()["mix_stream"];
  ASSERT_EQ(cases.size(), 4U);

  for (const auto& expected : cases) {
    const auto lengths = expected["lengths"].get<Numbers>();
    std::vector<Counter> counters;
    std::uint32_t begin = 0;
    for (const auto length : lengths) counters.emplace_back(begin, begin + length), begin += length;
    const auto strategy =
        expected["strategy"] == "all_exhausted" ? MixStrategy::interleave_over : MixStrategy::interleave_under;
    const auto probabilities = expected["probabilities"].is_null()
                                   ? std::vector<double>{}
                                   : expected["probabilities"].get<std::vector<double>>();
    MixedStream<Counter, std::uint32_t> stream(counters, strategy, probabilities, NumpyGenerator(expected["seed"]));
    Numbers order;
    for (std::uint32_t row = 0; stream.next(row);) order.push_back(row);
    EXPECT_EQ(order, expected["order"].get<Numbers>()) << expected["strategy"];
  }
}

TEST(MixedStream, ConcatenatesAndLeavesEmptyDatasetsOut) {
  const std::vector<Counter> counters{{0, 2}, {2, 2}, {2, 3}};
  const auto all = [&](MixStrategy strategy) {
    MixedStream<Counter, std::uint32_t> stream(counters, strategy, {}, NumpyGenerator(1));
    Numbers order;
    for (std::uint32_t row = 0; stream.next(row);) order.push_back(row);
    return order;
  };

  EXPECT_EQ(all(MixStrategy::concat), (Numbers{0, 1, 2}));
  EXPECT_EQ(all(MixStrategy::interleave_once), (Numbers{0, 2, 1}));
}

TEST(BufferShuffle, ShufflesEachPassAsDatasetsDoes) {
  const auto cases = stream_oracle()["stream"];
  ASSERT_EQ(cases.size(), 6U);

  for (const auto& expected : cases) {
    BufferShuffle<std::uint32_t> shuffle(expected["buffer_size"],
                                         stream_generator(expected["seed"], expected["epoch"]));
    Numbers order;
    for (std::uint32_t i = 0; i < expected["rows"].get<std::uint32_t>(); ++i) {
      if (const auto out = shuffle.push(i)) order.push_back(*out);
    }
    for (const auto left : shuffle.finish()) order.push_back(left);
    EXPECT_EQ(order, expected["order"].get<Numbers>()) << expected["rows"] << ", epoch " << expected["epoch"];
  }
}

}  // namespace
}  // namespace dstrain::test
