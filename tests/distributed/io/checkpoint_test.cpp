// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdlib>

#include "comm/mpi_communicator.hpp"
#include "io/checkpoint/folders.hpp"
#include "io/checkpoint/inspect.hpp"
#include "io/checkpoint/read.hpp"
#include "io/checkpoint/write.hpp"
#include "support/process.hpp"
#include "unit/io/checkpoint_test_support.hpp"
#include "unit/io/io_test_support.hpp"

namespace dstrain::checkpoint_test {
namespace {

namespace fs = std::filesystem;
using test::make_test_content;
using test::test_tensors;
using test::test_value;

constexpr std::int64_t small_piece = 50;

class DistributedCheckpoint : public testing::Test {
 protected:
  void SetUp() override {
    comm_ = make_world_communicator();
    // A folder per world size: ctest may run several at once.
    output_dir_ = test::test_folder(".np" + std::to_string(comm_->size()));
    if (comm_->rank() == 0) {
      fs::remove_all(output_dir_);
      fs::create_directories(output_dir_);
    }
    comm_->barrier("test: folder");
  }
  void TearDown() override { comm_->close(); }

  fs::path save(std::int64_t step, const CheckpointContent& content) {
    return write_checkpoint(*comm_, output_dir_, step, content, {{}, small_piece});
  }

  /// Compares what `part` of `parts` equal ranges of every tensor and kind holds.
  static void expect_part(CheckpointReader& reader, int part, int parts) {
    for (int k = 0; k < checkpoint_kinds; ++k) {
      const auto kind = static_cast<CheckpointKind>(k);
      for (std::int32_t t = 0; t < static_cast<std::int32_t>(test_tensors.size()); ++t) {
        if (!reader.has(kind, t)) continue;
        const auto count = count_of(kind, test_tensors[static_cast<std::size_t>(t)]);
        const auto begin = count * part / parts;
        const auto end = count * (part + 1) / parts;
        const auto values = test::read_values(reader, kind, t, begin, end - begin);
        for (auto i = begin; i < end; ++i) {
          ASSERT_EQ(values[static_cast<std::size_t>(i - begin)], test_value(kind, t, i))
              << test_tensors[static_cast<std::size_t>(t)].name;
        }
      }
    }
  }

  std::unique_ptr<Communicator> comm_;
  fs::path output_dir_;
};

// Saved on P ranks; read as the ranks of worlds of any other size would read it.
TEST_F(DistributedCheckpoint, IsReadByAnyNumberOfRanks) {
  const auto folder = save(7, make_test_content(comm_->rank(), comm_->size()).content);

  auto reader = CheckpointReader::open(*comm_, folder);

  EXPECT_EQ(reader.step(), 7);
  EXPECT_EQ(reader.tensors(), test_tensors);
  EXPECT_EQ(reader.metadata(), make_test_content(0, 1).content.metadata);
  EXPECT_EQ(static_cast<int>(reader.manifest().shards.size()), comm_->size());
  for (const int parts : {1, 2, 3, 5, 8}) {
    for (int part = comm_->rank(); part < parts; part += comm_->size()) expect_part(reader, part, parts);
  }
}

TEST_F(DistributedCheckpoint, IsTheSameWhetherOpenedByOneOrByAll) {
  const auto folder = save(7, make_test_content(comm_->rank(), comm_->size()).content);

  auto reader = CheckpointReader::open(folder);

  EXPECT_EQ(manifest_text(reader.manifest()), manifest_text(CheckpointReader::open(*comm_, folder).manifest()));
  expect_part(reader, 0, 1);
  if (comm_->rank() == 0) {
    EXPECT_TRUE(verify_checkpoint(folder).empty());
  }
}

// ZeRO stage 0 where rank 0 writes for all, and worlds with more ranks than slices.
TEST_F(DistributedCheckpoint, RanksThatBringNothingWriteNothing) {
  const int writer = comm_->size() - 1;
  auto data = comm_->rank() == writer ? make_test_content(0, 1) : test::TestContent{};
  data.content.tensors = test_tensors;
  data.content.metadata = make_test_content(0, 1).content.metadata;

  auto reader = CheckpointReader::open(*comm_, save(7, data.content));

  ASSERT_EQ(reader.manifest().shards.size(), 1U);
  EXPECT_EQ(reader.manifest().shards[0].file, "shard-00001-of-00001.h5");
  expect_part(reader, comm_->rank(), comm_->size());
}

TEST_F(DistributedCheckpoint, WrongContentOnOneRankIsOneErrorOnAllAndNothingIsWritten) {
  auto data = make_test_content(comm_->rank(), comm_->size());
  save(7, data.content);

  auto damaged = data.content;
  if (comm_->rank() == comm_->size() - 1) damaged.slices[0].back().count -= 1;
  EXPECT_ERROR(save(8, damaged), "lm_head.weight\": element 142 is in no shard");

  damaged = data.content;
  if (comm_->rank() == comm_->size() - 1) damaged.slices[0].back().data = nullptr;
  EXPECT_ERROR(save(8, damaged), "has no data");

  EXPECT_EQ(find_latest_checkpoint(output_dir_)->step, 7);
  EXPECT_FALSE(fs::exists(output_dir_ / "checkpoint-8"));
  EXPECT_FALSE(fs::exists(output_dir_ / "checkpoint-8.part"));
}

TEST_F(DistributedCheckpoint, DifferentStepsOrTensorsOnRanksAreNoticed) {
  if (comm_->size() == 1) GTEST_SKIP() << "skipped: one rank agrees with itself";
  auto data = make_test_content(comm_->rank(), comm_->size());

  EXPECT_ERROR(save(comm_->rank() == 0 ? 7 : 8, data.content), "different tensor lists or steps");
  if (comm_->rank() == 1) data.content.tensors[0].name += "x";
  EXPECT_ERROR(save(7, data.content), "different tensor lists or steps");

  EXPECT_TRUE(fs::is_empty(output_dir_));
}

// A rank whose output_dir is another disk sees a folder without rank 0's word in it.
TEST_F(DistributedCheckpoint, AFolderThatIsNotSharedIsNoticedBeforeAShardIsWritten) {
  if (comm_->size() == 1) GTEST_SKIP() << "skipped: one rank shares with itself";
  const auto data = make_test_content(comm_->rank(), comm_->size());
  const auto own = output_dir_ / (comm_->rank() == 0 ? "first" : "others");
  fs::create_directories(own / "checkpoint-7.part");  // a leftover must not be taken for it

  EXPECT_ERROR(write_checkpoint(*comm_, own, 7, data.content), "this rank does not see it");

  EXPECT_FALSE(find_latest_checkpoint(own));
}

TEST_F(DistributedCheckpoint, DamageIsOneErrorOnAllRanksThatNamesTheShard) {
  const auto folder = save(7, make_test_content(comm_->rank(), comm_->size()).content);
  const auto last = shard_name(static_cast<std::size_t>(comm_->size() - 1), static_cast<std::size_t>(comm_->size()));
  if (comm_->rank() == 0) fs::resize_file(folder / last, fs::file_size(folder / last) - 4);
  comm_->barrier("test: damage");

  EXPECT_ERROR((void)CheckpointReader::open(*comm_, folder), last);
}

TEST_F(DistributedCheckpoint, OlderOnesGoAfterTheNewOneIsComplete) {
  const auto data = make_test_content(comm_->rank(), comm_->size());
  for (const auto step : {1, 2, 3, 4})
    (void)write_checkpoint(*comm_, output_dir_, step, data.content, {2, small_piece});

  const auto left = list_checkpoints(output_dir_);
  ASSERT_EQ(left.size(), 2U);
  EXPECT_EQ(left[0].step, 3);
  EXPECT_EQ(left[1].step, 4);
}

// Slices of matrices that begin and end inside rows, seen by another HDF5 library.
TEST_F(DistributedCheckpoint, IsReadByH5py) {
  const auto folder = save(7, make_test_content(comm_->rank(), comm_->size()).content);
  if (comm_->rank() != 0) return;
  const auto python = test::python_with("h5py");
  if (python.empty()) GTEST_SKIP() << "skipped: no python3 with h5py (DSTRAIN_PYTHON may name one)";

  const auto command =
      fmt::format("{} '{}/tests/unit/io/check_view.py' '{}'", python, DSTRAIN_SOURCE_DIR, folder.string());
  EXPECT_EQ(std::system(command.c_str()), 0);
}

}  // namespace
}  // namespace dstrain::checkpoint_test
