// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <hdf5.h>

#include <cmath>
#include <cstdlib>

#include "comm/local_communicator.hpp"
#include "io/checkpoint/inspect.hpp"
#include "io/checkpoint/read.hpp"
#include "io/checkpoint/write.hpp"
#include "io/hdf5/handles.hpp"
#include "io/safetensors/model.hpp"
#include "io/safetensors/writer.hpp"
#include "support/process.hpp"
#include "unit/io/checkpoint_test_support.hpp"
#include "unit/io/io_test_support.hpp"

namespace dstrain {
namespace {

namespace fs = std::filesystem;
using test::fresh_folder;
using test::make_test_content;
using test::names_in;
using test::save;
using test::test_tensors;
using test::test_value;

/// A dataset as any HDF5 program reads it, with no knowledge of shards.
std::vector<float> read_through_view(const fs::path& checkpoint, const std::string& dataset) {
  const hdf5::Gate gate;
  const auto file = hdf5::open_file(checkpoint / "checkpoint.h5");
  const hdf5::Dataset handle(H5Dopen2(file.get(), dataset.c_str(), H5P_DEFAULT));
  const hdf5::Space space(H5Dget_space(handle.get()));
  std::vector<float> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space.get())), -1.0F);
  EXPECT_GE(H5Dread(handle.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0) << dataset;
  return values;
}

TEST(Checkpoint, HasItsFilesAndNothingElse) {
  const auto output_dir = fresh_folder();

  const auto folder = save(output_dir, 7);

  EXPECT_EQ(folder, output_dir / "checkpoint-7");
  EXPECT_EQ(names_in(output_dir), (std::vector<std::string>{"checkpoint-7", "latest"}));
  EXPECT_EQ(names_in(folder),
            (std::vector<std::string>{"checkpoint.h5", "manifest.json", "manifest.xxh128", "shard-00001-of-00001.h5"}));
  EXPECT_EQ(test::read_text(output_dir / "latest"), "checkpoint-7\n");
  EXPECT_TRUE(verify_checkpoint(folder).empty());
}

TEST(Checkpoint, GivesBackEveryRange) {
  auto reader = CheckpointReader::open(save(fresh_folder(), 7));

  EXPECT_EQ(reader.step(), 7);
  EXPECT_EQ(reader.tensors(), test_tensors);
  EXPECT_EQ(reader.metadata(), make_test_content(0, 1).content.metadata);
  for (int k = 0; k < checkpoint_kinds; ++k) {
    const auto kind = static_cast<CheckpointKind>(k);
    for (std::int32_t t = 0; t < static_cast<std::int32_t>(test_tensors.size()); ++t) {
      if (!reader.has(kind, t)) continue;
      const auto total = count_of(kind, test_tensors[static_cast<std::size_t>(t)]);
      for (std::int64_t begin = 0; begin < total; begin += 17) {
        for (const auto count :
             {std::int64_t{1}, std::int64_t{49}, std::int64_t{50}, std::int64_t{120}, total - begin}) {
          if (begin + count > total) continue;
          const auto values = test::read_values(reader, kind, t, begin, count);
          for (std::int64_t i = 0; i < count; ++i) {
            ASSERT_EQ(values[static_cast<std::size_t>(i)], test_value(kind, t, begin + i))
                << t << " " << begin << " " << count;
          }
        }
      }
    }
  }
}

TEST(Checkpoint, RefusesRangesAndKindsThatItDoesNotHold) {
  auto reader = CheckpointReader::open(save(fresh_folder(), 7));
  float value = 0;

  EXPECT_FALSE(reader.has(CheckpointKind::exp_avg, test::frozen_tensor));
  EXPECT_ERROR(reader.read(CheckpointKind::exp_avg, test::frozen_tensor, 0, 1, &value), "holds no exp_avg");
  EXPECT_ERROR(reader.read(CheckpointKind::parameter, 1, 11, 1, &value), "has 11 elements");
  EXPECT_ERROR(reader.read(CheckpointKind::parameter, 1, -1, 1, &value), "has 11 elements");
  EXPECT_ERROR(reader.read(CheckpointKind::parameter, 9, 0, 1, &value), "no tensor 9");
  EXPECT_EQ(reader.find("lm_head.weight"), 3);
  EXPECT_EQ(reader.find("lm_head"), -1);
}

TEST(Checkpoint, ViewShowsEveryTensorUnderItsOwnNameToAnyHdf5Program) {
  const auto folder = save(fresh_folder(), 7);

  for (std::int32_t t = 0; t < static_cast<std::int32_t>(test_tensors.size()); ++t) {
    const auto& tensor = test_tensors[static_cast<std::size_t>(t)];
    const auto values = read_through_view(folder, tensor.name);
    ASSERT_EQ(values.size(), static_cast<std::size_t>(tensor.count()));
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(values[i], test_value(CheckpointKind::parameter, t, static_cast<std::int64_t>(i)));
    }
  }
  EXPECT_EQ(read_through_view(folder, "exp_avg_sq/lm_head.weight").at(3), test_value(CheckpointKind::exp_avg_sq, 3, 3));
}

// HDF5 gives the fill value for a missing source, and that is zero unless one is set: weights of zero would look like
// weights.
TEST(Checkpoint, ViewShowsNanWhereAShardIsMissing) {
  const auto folder = save(fresh_folder(), 7);
  fs::remove(folder / "shard-00001-of-00001.h5");

  EXPECT_TRUE(std::isnan(read_through_view(folder, "lm_head.weight").at(0)));
}

TEST(Checkpoint, MayBeMovedAsAFolder) {
  const auto output_dir = fresh_folder();
  fs::rename(save(output_dir, 7), output_dir / "elsewhere");

  float value = 0;
  CheckpointReader::open(output_dir / "elsewhere").read(CheckpointKind::parameter, 0, 5, 1, &value);

  EXPECT_EQ(value, test_value(CheckpointKind::parameter, 0, 5));
  EXPECT_EQ(read_through_view(output_dir / "elsewhere", test_tensors[0].name).at(5), value);
}

TEST(Checkpoint, SavedWithoutMomentsHasNone) {
  const auto folder = save(fresh_folder(), 7, /*with_moments=*/false);

  auto reader = CheckpointReader::open(folder);
  std::vector<float> values(143);
  reader.read(CheckpointKind::parameter, 3, 0, 143, values.data());

  EXPECT_EQ(values[142], test_value(CheckpointKind::parameter, 3, 142));
  EXPECT_FALSE(reader.has(CheckpointKind::exp_avg, 0));
  EXPECT_FALSE(reader.has(CheckpointKind::exp_avg_sq, 0));
}

TEST(Checkpoint, IsSummarized) {
  const auto summary = summarize_checkpoint(save(fresh_folder(), 7));

  EXPECT_EQ(summary.step, 7);
  EXPECT_EQ(summary.parameters, 37 * 11 + 11 + 105 + 143);
  EXPECT_TRUE(summary.tensors[0].has[2]);
  EXPECT_FALSE(summary.tensors[1].has[2]);
  EXPECT_EQ(summary.tensors[0].shards, 1);
  EXPECT_EQ(summary.shards.at(0).count[1], summary.parameters - 11);
  EXPECT_GT(summary.bytes, 3 * 4 * 600);
  EXPECT_EQ(summary.metadata.count("trainer_state"), 1U);
}

TEST(CheckpointWeights, AreExportedAsAModelFolder) {
  const auto folder = save(fresh_folder(), 7);
  auto reader = CheckpointReader::open(folder);
  const CheckpointWeights weights(reader);
  SafetensorsModelWriter writer(folder.parent_path() / "export", reader.tensors(), DType::f32, 1'000);
  std::vector<float> scratch(33);

  copy_weights(weights, reader.tensors(), writer, scratch);

  const auto model = SafetensorsModel::open(folder.parent_path() / "export");
  const auto found = match_tensors(model, reader.tensors());
  float value = 0;
  model.read(found[3], 142, 1, &value);
  EXPECT_EQ(value, test_value(CheckpointKind::parameter, 3, 142));
}

TEST(CheckpointView, HoldsAScalarAsOneElement) {
  LocalCommunicator comm;
  const float value = 2.5F;
  CheckpointContent content;
  content.tensors = {{"scale", {}}};
  content[CheckpointKind::parameter] = {{0, 0, 1, &value}};

  const auto folder = write_checkpoint(comm, fresh_folder(), 0, content);

  EXPECT_EQ(read_through_view(folder, "scale"), std::vector<float>{2.5F});
  float back = 0;
  CheckpointReader::open(folder).read(CheckpointKind::parameter, 0, 0, 1, &back);
  EXPECT_EQ(back, value);
}

TEST(Hdf5, ErrorsCarryTheLibrarysOwnWords) {
  const auto path = fresh_folder() / "x.h5";
  EXPECT_ERROR((void)hdf5::open_file(path), "No such file");
  test::write_text(path, std::string(4096, 'x'));
  EXPECT_ERROR((void)hdf5::open_file(path), "file signature not found");
}

// Over the whole checkpoint by another HDF5 library.
TEST(Checkpoint, IsReadByH5py) {
  const auto python = test::python_with("h5py");
  if (python.empty()) GTEST_SKIP() << "skipped: no python3 with h5py (DSTRAIN_PYTHON may name one)";
  const auto folder = save(fresh_folder(), 7);

  const auto command =
      fmt::format("{} '{}/tests/unit/io/check_view.py' '{}'", python, DSTRAIN_SOURCE_DIR, folder.string());
  EXPECT_EQ(std::system(command.c_str()), 0);
}

}  // namespace
}  // namespace dstrain
