// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "comm/local_communicator.hpp"
#include "io/checkpoint/inspect.hpp"
#include "io/checkpoint/read.hpp"
#include "io/checkpoint/write.hpp"
#include "unit/io/checkpoint_test_support.hpp"
#include "unit/io/io_test_support.hpp"

namespace dstrain {
namespace {

namespace fs = std::filesystem;
using test::fresh_folder;
using test::make_test_content;
using test::names_in;
using test::save;

TEST(CheckpointDamage, NamesTheTensorOfAFlippedBit) {
  const auto folder = save(fresh_folder(), 7);
  auto manifest = read_manifest(folder);
  const auto& dataset = manifest.shards[0].datasets[static_cast<std::size_t>(CheckpointKind::exp_avg)];
  const auto& slab = dataset.slabs.back();  // lm_head.weight, its elements 100 to 142 under the third digest
  test::flip_bit(folder / manifest.shards[0].file, dataset.offset + (slab.at + 120) * 4 + 1);
  auto reader = CheckpointReader::open(folder);
  std::vector<float> values(143);

  EXPECT_NO_THROW(reader.read(CheckpointKind::exp_avg, 3, 0, 100, values.data()));
  EXPECT_NO_THROW(reader.read(CheckpointKind::parameter, 3, 0, 143, values.data()));
  EXPECT_ERROR(reader.read(CheckpointKind::exp_avg, 3, 0, 101, values.data()),
               "exp_avg of \"lm_head.weight\", elements 100 to 142");
  EXPECT_ERROR(reader.read(CheckpointKind::exp_avg, 3, 142, 1, values.data()), "shard-00001-of-00001.h5");

  const auto damage = verify_checkpoint(folder);
  ASSERT_EQ(damage.size(), 1U);
  EXPECT_EQ(damage[0].file, "shard-00001-of-00001.h5");
  EXPECT_EQ(damage[0].tensor, "lm_head.weight");
}

// Every byte of every file lies under some digest.
TEST(CheckpointDamage, NoticesAFlippedBitAnywhere) {
  const auto output_dir = fresh_folder();
  const auto sound = save(output_dir, 7);

  for (const auto& name : names_in(sound)) {
    const auto bytes = static_cast<std::int64_t>(fs::file_size(sound / name));
    for (std::int64_t at = 0; at < bytes; at += std::max<std::int64_t>(1, bytes / 97)) {
      test::flip_bit(sound / name, at);
      bool noticed = false;
      try {
        noticed = !verify_checkpoint(sound).empty();
      } catch (const IoError&) {
        noticed = true;
      }
      EXPECT_TRUE(noticed) << name << " byte " << at;
      test::flip_bit(sound / name, at);
    }
  }
  EXPECT_TRUE(verify_checkpoint(sound).empty());
}

TEST(CheckpointDamage, NamesDamagedHdf5StructureBeforeHdf5ReadsIt) {
  const auto folder = save(fresh_folder(), 7);
  test::flip_bit(folder / "shard-00001-of-00001.h5", 60);
  auto reader = CheckpointReader::open(folder);
  float value = 0;

  EXPECT_ERROR(reader.read(CheckpointKind::parameter, 0, 0, 1, &value), "HDF5 structure is not what was written");

  test::flip_bit(folder / "checkpoint.h5", 60);
  EXPECT_ERROR((void)CheckpointReader::open(folder), "checkpoint.h5");
}

TEST(CheckpointDamage, NamesMissingAndTruncatedFilesWhenOpened) {
  const auto output_dir = fresh_folder();
  const auto shard = save(output_dir, 7) / "shard-00001-of-00001.h5";
  fs::resize_file(shard, fs::file_size(shard) - 1);
  EXPECT_ERROR((void)CheckpointReader::open(shard.parent_path()), "shard-00001-of-00001.h5");
  EXPECT_EQ(verify_checkpoint(shard.parent_path()).size(), 1U);

  fs::remove(shard);
  EXPECT_ERROR((void)CheckpointReader::open(shard.parent_path()), "is missing");

  for (const auto* name : {"manifest.json", "manifest.xxh128", "checkpoint.h5"}) {
    const auto folder = save(output_dir, 7);
    fs::remove(folder / name);
    EXPECT_ERROR((void)CheckpointReader::open(folder), name);
  }
}

TEST(CheckpointDamage, RefusesContentThatDoesNotTileAndWritesNothing) {
  const auto output_dir = fresh_folder();
  LocalCommunicator comm;
  const auto refused = [&](const std::function<void(CheckpointContent&)>& change, const char* part) {
    auto data = make_test_content(0, 1);
    change(data.content);
    EXPECT_ERROR(write_checkpoint(comm, output_dir, 7, data.content), part);
  };

  refused([](auto& c) { c.slices[0].pop_back(); }, "parameter of \"lm_head.weight\": element 0 is in no shard");
  refused([](auto& c) { c.slices[1].back().count -= 1; }, "exp_avg of \"lm_head.weight\": element 142 is in no shard");
  refused([](auto& c) { c.slices[0].push_back(c.slices[0].back()); }, "in two shards");
  refused([](auto& c) { c.slices[0].back().begin = 1; }, "does not lie in");
  refused([](auto& c) { c.slices[0].back().tensor = 5; }, "there are 5");
  refused([](auto& c) { c.slices[0].back().data = nullptr; }, "has no data");
  refused([](auto& c) { c.tensors[0].name = "a/b"; }, "cannot be called");
  refused([](auto& c) { c.metadata["step"] = "x"; }, "cannot be stored");
  refused([](auto& c) { c.metadata["x"] = std::string("a\0b", 3); }, "cannot be stored");

  EXPECT_TRUE(fs::is_empty(output_dir));
}

TEST(CheckpointDamage, VerificationReportsProgressUpToTheEnd) {
  const auto folder = save(fresh_folder(), 7);
  std::int64_t last = 0;
  std::int64_t all = 0;

  (void)verify_checkpoint(folder, [&](std::int64_t done, std::int64_t total) {
    EXPECT_GE(done, last);
    last = done;
    all = total;
  });

  EXPECT_EQ(last, all);
  EXPECT_EQ(all, static_cast<std::int64_t>(fs::file_size(folder / "shard-00001-of-00001.h5")));
}

}  // namespace
}  // namespace dstrain
