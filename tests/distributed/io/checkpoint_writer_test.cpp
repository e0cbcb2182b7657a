// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/writer.hpp"

#include <gtest/gtest.h>

#include "comm/mpi_communicator.hpp"
#include "io/checkpoint/folders.hpp"
#include "io/checkpoint/inspect.hpp"
#include "io/checkpoint/read.hpp"
#include "io/checkpoint/read_ranges.hpp"
#include "io/checkpoint/trial.hpp"
#include "io/files/file.hpp"
#include "unit/io/checkpoint_test_support.hpp"
#include "unit/io/io_test_support.hpp"

namespace dstrain::checkpoint_writer_test {
namespace {

namespace fs = std::filesystem;
using test::make_test_content;

class Writer : public testing::Test {
 protected:
  void SetUp() override {
    comm_ = make_world_communicator();
    output_dir_ = test::test_folder(".np" + std::to_string(comm_->size()));
    if (first()) {
      fs::remove_all(output_dir_);
      fs::create_directories(output_dir_);
    }
    comm_->barrier("test: folder");
    data_ = make_test_content(comm_->rank(), comm_->size());
  }
  void TearDown() override { comm_->close(); }

  [[nodiscard]] bool first() const { return comm_->rank() == 0; }

  /// What a training step does with the state.
  void overwrite() {
    for (auto& buffer : data_.buffers) std::fill(buffer.begin(), buffer.end(), -7.0F);
    for (auto& codes : data_.codes) std::fill(codes.begin(), codes.end(), std::uint8_t{252});
    for (auto& narrow : data_.narrow) std::fill(narrow.begin(), narrow.end(), bfloat16(-7.0F));
  }

  /// The boundary of a step. @return whether something is still in flight
  bool boundary(CheckpointWriter& writer) {
    auto state = static_cast<std::int32_t>(writer.state());
    comm_->all_reduce(View(&state, 1, DType::i32), ReduceOp::max, Stream{}, "test: state");
    writer.advance(static_cast<SaveState>(state));
    return writer.in_flight();
  }

  void expect_sound(std::int64_t step, std::size_t shards) {
    const auto folder = output_dir_ / checkpoint_name(step);
    if (first()) {
      EXPECT_TRUE(verify_checkpoint(folder).empty());
    }
    auto reader = CheckpointReader::open(*comm_, folder);
    EXPECT_EQ(reader.manifest().shards.size(), shards);
    for (const auto kind : all_checkpoint_kinds()) {
      for (std::int32_t t = 0; t < static_cast<std::int32_t>(test::test_tensors.size()); ++t) {
        if (!reader.has(kind, t)) continue;
        const auto count = count_of(kind, test::test_tensors[static_cast<std::size_t>(t)]);
        const auto values = test::read_values(reader, kind, t, 0, count);
        for (std::int64_t i = 0; i < count; ++i)
          ASSERT_EQ(values[static_cast<std::size_t>(i)], test::test_value(kind, t, i));
      }
    }
  }

  std::unique_ptr<Communicator> comm_;
  fs::path output_dir_;
  test::TestContent data_;
};

TEST_F(Writer, TheStateMayChangeOnceItIsSecured) {
  for (const std::int64_t copies : {std::int64_t{0}, std::int64_t{1} << 20}) {
    std::vector<char> memory(static_cast<std::size_t>(copies));
    CheckpointWriter writer(*comm_, View(memory.data(), copies, DType::u8));
    data_ = make_test_content(comm_->rank(), comm_->size());

    writer.begin(output_dir_, 7, data_.content, {.piece_count = 50});
    EXPECT_TRUE(writer.in_flight());
    writer.secure();
    overwrite();
    while (boundary(writer)) continue;

    expect_sound(7, static_cast<std::size_t>(comm_->size()));
  }
}

TEST_F(Writer, OneIsInFlightAtATime) {
  CheckpointWriter writer(*comm_, View());

  for (const auto step : {1, 2, 3}) writer.begin(output_dir_, step, data_.content, {.piece_count = 50});
  writer.finish();

  EXPECT_EQ(list_checkpoints(output_dir_).size(), 3U);
  expect_sound(3, static_cast<std::size_t>(comm_->size()));
}

TEST_F(Writer, EveryWayOfWritingGivesTheSameValues) {
  std::vector<int> nodes;
  for (int rank = 0; rank < comm_->size(); ++rank) nodes.push_back(rank / 2);
  const auto node_count = static_cast<std::size_t>((comm_->size() + 1) / 2);
  CheckpointWriter writer(*comm_, View());

  writer.begin(output_dir_, 1, data_.content,
               {.piece_count = 50, .writers = CheckpointWriters::node, .node_of_rank = nodes});
  writer.begin(output_dir_, 2, data_.content, {.piece_count = 50, .writers = CheckpointWriters::single});
  writer.begin(output_dir_, 3, data_.content, {.piece_count = 50, .writers = CheckpointWriters::collective});
  writer.finish();

  expect_sound(1, node_count);
  expect_sound(2, 1);
  expect_sound(3, 1);
}

// Only rank 0's disk holds output_dir.
TEST_F(Writer, OneWriterAsksNoOtherRankForTheFolder) {
  const auto own = first() ? output_dir_ : output_dir_ / "nowhere";
  CheckpointWriter writer(*comm_, View());

  writer.begin(own, 4, data_.content, {.piece_count = 50, .writers = CheckpointWriters::single});
  writer.finish();

  EXPECT_EQ(try_checkpoint(*comm_, own, data_.content, CheckpointWriters::single).free_bytes > 0, true);
  auto reader = CheckpointReader::open(*comm_, own / checkpoint_name(4));
  std::vector<float> scratch(37);  // less than a tensor, less than a piece
  std::vector<float> values(200, -1.0F);
  std::vector<std::uint8_t> codes(143);
  const std::vector<WantedRange> wanted{{CheckpointKind::exp_avg, 0, comm_->rank(), 200, values.data()},
                                        {CheckpointKind::state1, 3, 0, 143, codes.data()}};
  read_ranges(*comm_, reader, wanted, scratch);
  for (int i = 0; i < 200; ++i)
    ASSERT_EQ(values[static_cast<std::size_t>(i)], test::test_value(CheckpointKind::exp_avg, 0, comm_->rank() + i));
  for (int i = 0; i < 143; ++i)
    ASSERT_EQ(static_cast<float>(codes[static_cast<std::size_t>(i)]), test::test_value(CheckpointKind::state1, 3, i));

  comm_->barrier("test: read");
  const auto& dataset = reader.manifest().shards[0].datasets[static_cast<std::size_t>(CheckpointKind::exp_avg)];
  if (first()) test::flip_bit(own / checkpoint_name(4) / shard_name(0, 1), dataset.offset + 4 * 100);
  comm_->barrier("test: damage");
  auto damaged = CheckpointReader::open(*comm_, own / checkpoint_name(4));
  EXPECT_ERROR(read_ranges(*comm_, damaged, wanted, scratch), "is damaged");
}

TEST_F(Writer, FilesBesideTheShardsComeUnderTheManifest) {
  CheckpointWriter writer(*comm_, View());
  writer.begin(output_dir_, 5, data_.content, {.piece_count = 50}, [&](const fs::path& part) {
    if (first()) test::write_text(part / "adapter_config.json", "{\"r\": 8}");
  });
  writer.finish();
  const auto folder = output_dir_ / checkpoint_name(5);
  expect_sound(5, static_cast<std::size_t>(comm_->size()));
  comm_->barrier("test: read");

  if (first()) test::flip_bit(folder / "adapter_config.json", 3);
  comm_->barrier("test: damage");

  EXPECT_ERROR((void)CheckpointReader::open(*comm_, folder), "adapter_config.json");
}

// The last rank's disk is full; all learn it at the next boundary, and what was complete stays.
TEST_F(Writer, AFailureOnOneRankEndsItForAll) {
  CheckpointWriter writer(*comm_, View());
  writer.begin(output_dir_, 6, data_.content, {.piece_count = 50});
  writer.finish();

  writer.begin(output_dir_, 7, data_.content, {.piece_count = 50}, [&](const fs::path& part) {
    const auto shards = static_cast<std::size_t>(comm_->size());
    if (comm_->rank() + 1 != comm_->size()) return;
    fs::remove(part / shard_name(shards - 1, shards));
    fs::create_symlink("/dev/full", part / shard_name(shards - 1, shards));
  });
  const auto said = test::error_of([&] {
    while (boundary(writer)) continue;
  });

  EXPECT_NE(said.find("No space left on device"), std::string::npos) << said;
  EXPECT_FALSE(writer.in_flight());
  comm_->barrier("test: removed");
  EXPECT_FALSE(fs::exists(output_dir_ / "checkpoint-7.part"));
  expect_sound(6, static_cast<std::size_t>(comm_->size()));
  EXPECT_EQ(find_latest_checkpoint(output_dir_)->step, 6);
}

TEST_F(Writer, AnOutputFolderThatWentAwayIsNotMadeAnew) {
  CheckpointWriter writer(*comm_, View());
  writer.begin(output_dir_, 1, data_.content, {.piece_count = 50});
  writer.finish();
  comm_->barrier("test: written");
  if (first()) fs::rename(output_dir_, output_dir_.string() + ".moved");

  EXPECT_ERROR(writer.begin(output_dir_, 2, data_.content, CheckpointOptions()), "is gone");

  if (first()) {
    EXPECT_FALSE(fs::exists(output_dir_));
    fs::create_directories(output_dir_);  // another disk under the same name
  }
  EXPECT_ERROR(writer.begin(output_dir_, 2, data_.content, CheckpointOptions()), "is not the folder that it was");
  writer.begin(output_dir_ / "another", 3, data_.content, {.piece_count = 50});  // on purpose
  writer.finish();
  EXPECT_TRUE(fs::exists(output_dir_ / "another/checkpoint-3"));
  if (first()) fs::remove_all(output_dir_.string() + ".moved");
}

TEST_F(Writer, ATrialLeavesNothingAndKnowsTheSize) {
  const auto trial = try_checkpoint(*comm_, output_dir_, data_.content, CheckpointWriters::rank);

  std::int64_t bytes = 0;
  for (const auto kind : all_checkpoint_kinds()) {
    for (std::size_t t = 0; t < test::test_tensors.size(); ++t) {
      const bool saved = kind == CheckpointKind::parameter || t != test::frozen_tensor;
      if (saved) bytes += count_of(kind, test::test_tensors[t]) * element_bytes(kind);
    }
  }
  EXPECT_EQ(trial.bytes, bytes);
  EXPECT_GT(trial.bytes_per_second, 0.0);
  EXPECT_GT(trial.free_bytes, 0);
  EXPECT_TRUE(fs::is_empty(output_dir_));
}

}  // namespace
}  // namespace dstrain::checkpoint_writer_test
