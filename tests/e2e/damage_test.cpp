// SPDX-License-Identifier: Apache-2.0
/// Checkpoints that were changed after they were written: found before training goes on, and walked back from.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

#include "comm/agreed_error.hpp"
#include "comm/local_communicator.hpp"
#include "io/checkpoint/folders.hpp"
#include "io/checkpoint/inspect.hpp"
#include "io/checkpoint/read.hpp"
#include "run_support.hpp"

namespace dstrain::test::damage_test {
namespace {

namespace fs = std::filesystem;

std::string train_command(int ranks, const fs::path& output_dir, const std::string& extra) {
  return fmt::format(
      "{}{} train --model_name_or_path preset:nano --dataset synthetic --synthetic_rows 96 --cutoff_len 32 --stage pt "
      "--finetuning_type lora --lora_target all --do_train --learning_rate 1e-3 --zero_stage 2 "
      "--per_device_train_batch_size {} --logging_steps 1 --save_steps 2 --output_dir {} {}",
      mpirun(ranks), binary(), 6 / ranks, quoted(output_dir.string()), extra);
}

void flip(const fs::path& path, std::int64_t bit) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(bit / 8);
  const char byte = static_cast<char>(file.get() ^ (1 << (bit % 8)));
  file.seekp(bit / 8);
  file.put(byte);
}

/// What a resume reads, by one rank. @return what it said is wrong
std::string load(const fs::path& folder) {
  try {
    LocalCommunicator comm;
    auto reader = CheckpointReader::open(comm, folder);
    std::vector<float> values;
    for (const auto kind : all_checkpoint_kinds()) {
      for (std::int32_t t = 0; t < static_cast<std::int32_t>(reader.tensors().size()); ++t) {
        if (!reader.has(kind, t)) continue;
        const auto elements = count_of(kind, reader.tensors()[static_cast<std::size_t>(t)]);
        values.resize(static_cast<std::size_t>(elements));
        reader.read(kind, t, 0, elements, values.data());
      }
    }
  } catch (const Error& error) {
    return fmt::format("{} ({})", error.what(), error.where());
  }
  return {};
}

class Damage : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    original_ = fs::path(DSTRAIN_TEST_TMP) / "Damage.original";
    fs::remove_all(original_);
    made_ = run(train_command(2, original_, "--max_steps 4"));
  }
  void SetUp() override {
    ASSERT_EQ(made_.exit_code, 0) << made_.err;
    output_dir_ = fresh_folder() / "out";
    fs::copy(original_, output_dir_, fs::copy_options::recursive);
  }

  void expect_walks_back() const {
    const auto result = run(train_command(1, output_dir_, "--resume_from_checkpoint true --max_steps 3"));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_NE(result.err.find("checkpoint-4 is damaged"), std::string::npos) << result.err;
    EXPECT_NE(result.err.find("checkpoint-2 at step 2"), std::string::npos) << result.err;
  }

  static inline fs::path original_;
  static inline ProcessResult made_;
  fs::path output_dir_;
};

TEST_F(Damage, EveryFlippedBitOfEveryFileIsFound) {
  const auto folder = output_dir_ / "checkpoint-4";
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  ASSERT_GE(files.size(), 7U) << "view, manifest and its digest, two shards, the adapter's two files";
  ASSERT_EQ(load(folder), "");
  std::mt19937_64 random(7);

  for (int i = 0; i < 70; ++i) {
    const auto& file = files[static_cast<std::size_t>(i) % files.size()];
    const auto bit = static_cast<std::int64_t>(random() % (fs::file_size(file) * 8));
    flip(file, bit);
    EXPECT_NE(load(folder), "") << file << " bit " << bit;
    flip(file, bit);
  }
  EXPECT_EQ(load(folder), "");
}

TEST_F(Damage, AFlippedBitMakesTheRunGoBackOneCheckpoint) {
  flip(output_dir_ / "checkpoint-4/shard-00002-of-00002.h5", 8 * 5000 + 3);
  expect_walks_back();
}

TEST_F(Damage, ATruncatedShardMakesTheRunGoBack) {
  const auto shard = output_dir_ / "checkpoint-4/shard-00001-of-00002.h5";
  fs::resize_file(shard, fs::file_size(shard) - 5);
  expect_walks_back();
}

TEST_F(Damage, AMissingShardMakesTheRunGoBack) {
  fs::remove(output_dir_ / "checkpoint-4/shard-00002-of-00002.h5");
  expect_walks_back();
}

TEST_F(Damage, SwappedShardsMakeTheRunGoBack) {
  const auto folder = output_dir_ / "checkpoint-4";
  fs::rename(folder / "shard-00001-of-00002.h5", folder / "x");
  fs::rename(folder / "shard-00002-of-00002.h5", folder / "shard-00001-of-00002.h5");
  fs::rename(folder / "x", folder / "shard-00002-of-00002.h5");
  expect_walks_back();
}

TEST_F(Damage, AShardOfAnotherCheckpointMakesTheRunGoBack) {
  fs::copy_file(output_dir_ / "checkpoint-2/shard-00001-of-00002.h5",
                output_dir_ / "checkpoint-4/shard-00001-of-00002.h5", fs::copy_options::overwrite_existing);
  expect_walks_back();
}

TEST_F(Damage, AMissingManifestIsSaidAndTheRunGoesBack) {
  fs::remove(output_dir_ / "checkpoint-4/manifest.json");
  expect_walks_back();
}

TEST_F(Damage, WhereAllAreDamagedNothingIsTrained) {
  for (const auto* name : {"checkpoint-2", "checkpoint-4"}) fs::resize_file(output_dir_ / name / "checkpoint.h5", 100);

  const auto result = run(train_command(1, output_dir_, "--resume_from_checkpoint true --max_steps 6"));

  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_NE(result.err.find("error:"), std::string::npos) << result.err;
  EXPECT_FALSE(fs::exists(output_dir_ / "checkpoint-6"));
}

TEST_F(Damage, ACheckpointThatWasAskedForIsNotReplacedByAnother) {
  flip(output_dir_ / "checkpoint-4/shard-00002-of-00002.h5", 8 * 5000 + 3);

  const auto result = run(train_command(
      1, output_dir_,
      fmt::format("--resume_from_checkpoint {} --max_steps 6", quoted((output_dir_ / "checkpoint-4").string()))));

  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_NE(result.err.find("shard-00002-of-00002.h5"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace dstrain::test::damage_test
