// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <deque>
#include <optional>

#include "comm/mpi_communicator.hpp"
#include "io/safetensors/model.hpp"
#include "io/safetensors/writer.hpp"
#include "io/weights/stream.hpp"
#include "unit/io/io_test_support.hpp"

namespace dstrain::weights_test {
namespace {

namespace fs = std::filesystem;

const std::vector<TensorInfo> tensors{{"b", {19, 7}}, {"a", {3}}, {"empty", {0}}, {"c", {1000}}};

/// Halves below 128: exact in every dtype.
float value_of(std::int32_t tensor, std::int64_t i) {
  return static_cast<float>(tensor) + 0.5F * static_cast<float>(i % 249);
}

class DistributedWeights : public testing::Test {
 protected:
  void SetUp() override {
    comm_ = make_world_communicator();
    folder_ = test::test_folder(".np" + std::to_string(comm_->size()));
    if (comm_->rank() == 0) {
      fs::remove_all(folder_);
      fs::create_directories(folder_);
    }
    comm_->barrier("test: folder");
  }
  void TearDown() override { comm_->close(); }

  [[nodiscard]] bool first() const { return comm_->rank() == 0; }

  /// Rank 0 writes the tensors by itself.
  void write_model(DType dtype, std::int64_t max_shard_bytes) {
    if (first()) {
      SafetensorsModelWriter writer(folder_ / "in", tensors, dtype, max_shard_bytes);
      for (std::int32_t t = 0; t < static_cast<std::int32_t>(tensors.size()); ++t) {
        for (std::int64_t i = 0; i < tensors[static_cast<std::size_t>(t)].count(); ++i) {
          const auto value = value_of(t, i);
          writer.write(t, i, 1, &value);
        }
      }
      writer.commit();
    }
    comm_->barrier("test: model");
  }

  /// Every tensor cut into runs of `run` elements that go round the ranks; tensor "a" is on all.
  std::vector<WeightSlice> deal(std::int64_t run) {
    std::vector<WeightSlice> slices;
    int owner = 0;
    for (std::int32_t t = 0; t < static_cast<std::int32_t>(tensors.size()); ++t) {
      const auto& tensor = tensors[static_cast<std::size_t>(t)];
      for (std::int64_t begin = 0; begin < tensor.count(); begin += run) {
        const auto count = std::min(run, tensor.count() - begin);
        WeightSlice slice{t, begin, count, tensor.name == "a" ? every_rank : owner++ % comm_->size(), nullptr};
        if (slice.owner == every_rank || slice.owner == comm_->rank()) {
          slice.data = memory_.emplace_back(static_cast<std::size_t>(count), -1.0F).data();
        }
        slices.push_back(slice);
      }
    }
    return slices;
  }

  /// Streams a model of `stored` in, to slices of `held`, and out again.
  void expect_the_same_folder(DType stored, DType held) {
    write_model(stored, 600);
    std::optional<SafetensorsModel> model;
    if (first()) model = SafetensorsModel::open(folder_ / "in");
    auto slices = deal(33);
    for (auto& slice : slices) slice.dtype = held;  // a narrow one in the first half of its memory
    std::vector<float> scratch(first() ? 20 : 0);
    stream_weights(*comm_, first() ? &*model : nullptr, tensors, slices, scratch);
    std::optional<SafetensorsModelWriter> writer;
    if (first()) writer.emplace(folder_ / "out", tensors, stored, 600);

    collect_weights(*comm_, first() ? &*writer : nullptr, tensors, slices, scratch);

    if (!first()) return;
    for (const auto& entry : fs::directory_iterator(folder_ / "in")) {
      EXPECT_EQ(test::read_text(entry.path()), test::read_text(folder_ / "out" / entry.path().filename()))
          << entry.path();
    }
  }

  std::unique_ptr<Communicator> comm_;
  fs::path folder_;
  std::deque<std::vector<float>> memory_;
};

TEST_F(DistributedWeights, ReachTheirOwnersThroughASmallScratch) {
  write_model(DType::bf16, 300);
  std::optional<SafetensorsModel> model;
  if (first()) model = SafetensorsModel::open(folder_ / "in");
  for (const std::int64_t run : {1, 10, 64, 5'000}) {
    for (const std::size_t scratch_count : {2, 40, 3'000}) {
      const auto slices = deal(run);
      std::vector<float> scratch(first() ? scratch_count : 0);

      stream_weights(*comm_, first() ? &*model : nullptr, tensors, slices, scratch);

      int wrong = 0;  // counted: a rank that left the test here would leave the others waiting
      for (const auto& slice : slices) {
        for (std::int64_t i = 0; slice.data != nullptr && i < slice.count; ++i) {
          wrong += static_cast<const float*>(slice.data)[i] != value_of(slice.tensor, slice.begin + i) ? 1 : 0;
        }
      }
      EXPECT_EQ(wrong, 0) << "slices of " << run << " through a scratch of " << scratch_count;
    }
  }
}

// There and back: the exported folder holds the bytes of the one that was read.
TEST_F(DistributedWeights, ComeBackAsTheModelTheyCameFrom) {
  for (const auto dtype : {DType::f32, DType::f16}) expect_the_same_folder(dtype, DType::f32);
}

// Frozen weights are kept in two bytes: rounded once on the way in, the same bits on the way out.
TEST_F(DistributedWeights, NarrowSlicesComeBackAsTheyWereStored) {
  for (const auto dtype : {DType::bf16, DType::f16}) expect_the_same_folder(dtype, dtype);
}

TEST_F(DistributedWeights, AMissingTensorIsOneErrorOnAllRanks) {
  write_model(DType::f32, 1 << 20);
  std::optional<SafetensorsModel> model;
  if (first()) model = SafetensorsModel::open(folder_ / "in");
  auto wanted = tensors;
  wanted.push_back({"absent", {4}});
  wanted[1].shape = {4};
  std::vector<float> scratch(8);

  EXPECT_ERROR(stream_weights(*comm_, first() ? &*model : nullptr, wanted, {}, scratch), "missing, e.g. \"absent\"");
  EXPECT_ERROR(stream_weights(*comm_, first() ? &*model : nullptr, wanted, {}, scratch), "\"a\" is [3] in the file");
}

TEST_F(DistributedWeights, ListsThatDifferAreNoticedInsteadOfHanging) {
  if (comm_->size() == 1) GTEST_SKIP() << "skipped: one rank agrees with itself";
  write_model(DType::f32, 1 << 20);
  std::optional<SafetensorsModel> model;
  if (first()) model = SafetensorsModel::open(folder_ / "in");
  auto slices = deal(50);
  if (comm_->rank() == 1) slices.pop_back();
  std::vector<float> scratch(8);

  EXPECT_ERROR(stream_weights(*comm_, first() ? &*model : nullptr, tensors, slices, scratch),
               "different lists of weight slices");
}

TEST_F(DistributedWeights, AListThatDoesNotTileIsNotCollected) {
  std::optional<SafetensorsModelWriter> writer;
  if (first()) writer.emplace(folder_ / "out", tensors, DType::f32);
  auto slices = deal(50);
  slices.pop_back();
  std::vector<float> scratch(8);

  EXPECT_ERROR(collect_weights(*comm_, first() ? &*writer : nullptr, tensors, slices, scratch),
               "\"c\" end at 950 of 1000");

  writer.reset();
  if (first()) {
    EXPECT_TRUE(fs::is_empty(folder_ / "out"));
  }
}

}  // namespace
}  // namespace dstrain::weights_test
