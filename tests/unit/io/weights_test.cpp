// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "comm/local_communicator.hpp"
#include "io/weights/stream.hpp"
#include "io/weights/weight_source.hpp"
#include "unit/io/io_test_support.hpp"

namespace dstrain {
namespace {

/// Element i of tensor t is 100 t + i.
class CountingSource final : public WeightSource {
 public:
  explicit CountingSource(std::vector<TensorInfo> tensors) : tensors_(std::move(tensors)) {}
  [[nodiscard]] const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  void read(std::int32_t tensor, std::int64_t begin, std::int64_t count, float* to) const override {
    for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(100 * tensor + begin + i);
  }
  [[nodiscard]] std::string where() const override { return "counting"; }

 private:
  std::vector<TensorInfo> tensors_;
};

/// Keeps what it is given, and notes pieces that do not follow each other.
class KeepingSink final : public WeightSink {
 public:
  explicit KeepingSink(std::size_t tensors) : values(tensors) {}
  void write(std::int32_t tensor, std::int64_t begin, std::int64_t count, const float* from) override {
    auto& list = values[static_cast<std::size_t>(tensor)];
    EXPECT_EQ(begin, static_cast<std::int64_t>(list.size()));
    list.insert(list.end(), from, from + count);
  }
  void commit() override { ++commits; }

  std::vector<std::vector<float>> values;
  int commits = 0;
};

const CountingSource source({{"a", {4}}, {"b", {2, 3}}, {"c", {7}}});

TEST(MatchTensors, FindsByNameAndNamesWhatDisagrees) {
  const std::vector<TensorInfo> wanted{{"c", {7}}, {"a", {4}}};
  EXPECT_EQ(match_tensors(source, wanted), (std::vector<std::int32_t>{2, 0}));
  EXPECT_EQ(unused_tensors(source, wanted), std::vector<std::string>{"b"});

  const std::vector<TensorInfo> wrong{{"x", {1}}, {"b", {3, 2}}, {"y", {1}}, {"a", {4}}};
  EXPECT_ERROR((void)match_tensors(source, wrong), "2 of 4 tensors are missing, e.g. \"x\"");
  EXPECT_ERROR((void)match_tensors(source, wrong), "\"b\" is [2, 3] in the file, [3, 2] in the model (counting)");
}

TEST(StreamWeights, FillsSlicesOnOneRankWhateverTheScratch) {
  const std::vector<TensorInfo> tensors{{"c", {7}}, {"a", {4}}};
  for (const std::size_t scratch_count : {2, 3, 100}) {
    LocalCommunicator comm;
    std::vector<float> scratch(scratch_count);
    std::vector<float> c(5);
    std::vector<float> a(4);
    const std::vector<WeightSlice> slices{
        {0, 2, 5, 0, c.data()}, {1, 0, 0, 0, nullptr}, {1, 0, 4, every_rank, a.data()}};

    stream_weights(comm, &source, tensors, slices, scratch);

    EXPECT_EQ(c, (std::vector<float>{202, 203, 204, 205, 206}));
    EXPECT_EQ(a, (std::vector<float>{0, 1, 2, 3}));
  }
}

TEST(StreamWeights, RefusesWrongListsBeforeReading) {
  LocalCommunicator comm;
  const std::vector<TensorInfo> tensors{{"a", {4}}};
  std::vector<float> scratch(8);
  std::vector<float> data(4);
  const auto stream = [&](WeightSlice slice, std::span<float> with) {
    stream_weights(comm, &source, tensors, std::span(&slice, 1), with);
  };

  EXPECT_ERROR(stream({1, 0, 4, 0, data.data()}, scratch), "there are 1");
  EXPECT_ERROR(stream({0, 1, 4, 0, data.data()}, scratch), "does not lie in \"a\"");
  EXPECT_ERROR(stream({0, 0, 4, 1, data.data()}, scratch), "belongs to rank 1 of 1");
  EXPECT_ERROR(stream({0, 0, 4, 0, nullptr}, scratch), "has no memory");
  EXPECT_ERROR(stream({0, 0, 4, 0, data.data()}, {}), "needs a scratch buffer");
  EXPECT_ERROR(stream_weights(comm, nullptr, tensors, {}, scratch), "no weights to read");
}

TEST(StreamWeights, PassesOnAReadThatFails) {
  class Failing final : public WeightSource {
   public:
    [[nodiscard]] const std::vector<TensorInfo>& tensors() const override { return tensors_; }
    void read(std::int32_t, std::int64_t begin, std::int64_t, float*) const override {
      if (begin >= 2) throw IoError("the disk is gone", "x");
    }
    [[nodiscard]] std::string where() const override { return "x"; }

   private:
    std::vector<TensorInfo> tensors_{{"a", {4}}};
  };
  LocalCommunicator comm;
  const Failing failing;
  std::vector<float> scratch(2);
  std::vector<float> data(4);
  const WeightSlice slice{0, 0, 4, 0, data.data()};

  EXPECT_ERROR(stream_weights(comm, &failing, failing.tensors(), std::span(&slice, 1), scratch), "the disk is gone");
}

TEST(CollectWeights, HandsInTilesInOrderAndCommitsOnce) {
  LocalCommunicator comm;
  const std::vector<TensorInfo> tensors{{"a", {4}}, {"b", {2}}};
  std::vector<float> data{1, 2, 3, 4, 5, 6};
  std::vector<float> scratch(3);
  KeepingSink sink(2);
  const std::vector<WeightSlice> slices{
      {0, 0, 1, 0, data.data()}, {1, 0, 2, every_rank, data.data() + 4}, {0, 1, 3, 0, data.data() + 1}};

  collect_weights(comm, &sink, tensors, slices, scratch);

  EXPECT_EQ(sink.values[0], (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(sink.values[1], (std::vector<float>{5, 6}));
  EXPECT_EQ(sink.commits, 1);
  EXPECT_ERROR(collect_weights(comm, &sink, tensors, std::span(slices).first(2), scratch), "end at 1 of 4");
  EXPECT_ERROR(collect_weights(comm, &sink, tensors, std::span(slices).last(1), scratch), "begins at 1");
  EXPECT_EQ(sink.commits, 1);
}

TEST(CopyWeights, KeepsToTheScratch) {
  const std::vector<TensorInfo> wanted{{"b", {2, 3}}, {"a", {4}}};
  KeepingSink sink(2);
  std::vector<float> scratch(4);

  copy_weights(source, wanted, sink, scratch);

  EXPECT_EQ(sink.values[0], (std::vector<float>{100, 101, 102, 103, 104, 105}));
  EXPECT_EQ(sink.values[1], (std::vector<float>{0, 1, 2, 3}));
  EXPECT_EQ(sink.commits, 1);
}

}  // namespace
}  // namespace dstrain
