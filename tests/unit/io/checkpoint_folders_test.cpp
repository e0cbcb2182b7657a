// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <random>
#include <thread>

#include "io/checkpoint/folders.hpp"
#include "io/checkpoint/inspect.hpp"
#include "io/checkpoint/read.hpp"
#include "unit/io/checkpoint_test_support.hpp"
#include "unit/io/io_test_support.hpp"

namespace dstrain {
namespace {

namespace fs = std::filesystem;
using test::fresh_folder;
using test::names_in;
using test::save;

TEST(CheckpointFolders, ReplacesOneOfTheSameStep) {
  const auto output_dir = fresh_folder();
  save(output_dir, 7);
  const auto folder = save(output_dir, 7, /*with_moments=*/false);

  EXPECT_EQ(names_in(output_dir), (std::vector<std::string>{"checkpoint-7", "latest"}));
  EXPECT_FALSE(CheckpointReader::open(folder).has(CheckpointKind::exp_avg, 0));
}

TEST(CheckpointFolders, IgnoresAndClearsWhatAnInterruptedWriterLeft) {
  const auto output_dir = fresh_folder();
  save(output_dir, 7);
  fs::copy(output_dir / "checkpoint-7", output_dir / "checkpoint-9.part");
  fs::create_directory(output_dir / "checkpoint-11");  // of another program: no manifest
  fs::create_directory(output_dir / "keep.part");

  EXPECT_EQ(find_latest_checkpoint(output_dir)->step, 7);
  ASSERT_EQ(list_checkpoints(output_dir).size(), 1U);

  save(output_dir, 8);
  EXPECT_EQ(names_in(output_dir),
            (std::vector<std::string>{"checkpoint-11", "checkpoint-7", "checkpoint-8", "keep.part", "latest"}));
}

TEST(CheckpointFolders, AFailureMidwayLeavesTheEarlierOnesAndNoPart) {
  const auto output_dir = fresh_folder();
  save(output_dir, 7);
  test::write_text(output_dir / "checkpoint-8", "in the way");  // a file: the folder cannot get its name

  EXPECT_ERROR(save(output_dir, 8), "checkpoint-8");

  EXPECT_EQ(find_latest_checkpoint(output_dir)->step, 7);
  EXPECT_TRUE(verify_checkpoint(output_dir / "checkpoint-7").empty());
  EXPECT_FALSE(fs::exists(output_dir / "checkpoint-8.part"));
}

TEST(CheckpointFolders, KeepsAsManyAsAllowedAndAlwaysTheNewest) {
  const auto output_dir = fresh_folder();
  for (const auto step : {100, 200, 300}) save(output_dir, step);
  save(output_dir, 1000, true, 3);
  EXPECT_EQ(names_in(output_dir),
            (std::vector<std::string>{"checkpoint-1000", "checkpoint-200", "checkpoint-300", "latest"}));

  save(output_dir, 50, true, 2);  // resumed from an earlier point: the lowest number, but the newest
  EXPECT_EQ(names_in(output_dir), (std::vector<std::string>{"checkpoint-1000", "checkpoint-50", "latest"}));
  EXPECT_EQ(find_latest_checkpoint(output_dir)->step, 50);
}

TEST(CheckpointFolders, SurvivesAMissingStaleOrForeignPointer) {
  const auto output_dir = fresh_folder();
  EXPECT_FALSE(find_latest_checkpoint(output_dir));
  EXPECT_FALSE(find_latest_checkpoint(output_dir / "absent"));
  save(output_dir, 30);
  save(output_dir, 20);
  EXPECT_EQ(find_latest_checkpoint(output_dir)->step, 20);

  test::write_text(output_dir / "latest", "../../etc");
  EXPECT_EQ(find_latest_checkpoint(output_dir)->step, 30);
  fs::remove(output_dir / "latest");
  EXPECT_EQ(find_latest_checkpoint(output_dir)->step, 30);

  // The writer died after the rename and before the pointer: the folder is younger than the pointer.
  test::write_text(output_dir / "latest", "checkpoint-20\n");
  const auto now = fs::file_time_type::clock::now();
  fs::last_write_time(output_dir / "latest", now - std::chrono::seconds(30));
  fs::last_write_time(output_dir / "checkpoint-20" / "manifest.json", now - std::chrono::seconds(31));
  fs::last_write_time(output_dir / "checkpoint-30" / "manifest.json", now);
  EXPECT_EQ(find_latest_checkpoint(output_dir)->step, 30);

  // A copy: the folder of a lower step was copied last.
  test::write_text(output_dir / "latest", "checkpoint-30\n");
  fs::last_write_time(output_dir / "latest", now - std::chrono::seconds(30));
  fs::last_write_time(output_dir / "checkpoint-20" / "manifest.json", now);
  fs::last_write_time(output_dir / "checkpoint-30" / "manifest.json", now - std::chrono::seconds(40));
  EXPECT_EQ(find_latest_checkpoint(output_dir)->step, 30);
}

TEST(CheckpointFolders, OnlyExactNamesCount) {
  const auto output_dir = fresh_folder();
  const auto folder = save(output_dir, 7);
  for (const auto* name : {"checkpoint-07", "checkpoint--7", "checkpoint-7a", "checkpoint-",
                           "checkpoint-99999999999999999999", "xcheckpoint-8", "checkpoint-8.bak"}) {
    fs::copy(folder, output_dir / name);
  }

  ASSERT_EQ(list_checkpoints(output_dir).size(), 1U);
  EXPECT_EQ(list_checkpoints(output_dir)[0].step, 7);
}

// kill -9 at any moment: what has a final name is sound, and the newest of it is found.
TEST(CheckpointFolders, AKilledWriterLeavesOnlySoundCheckpoints) {
  const auto output_dir = fresh_folder();
  std::mt19937 random(11);
  int unfinished = 0;
  std::int64_t first_step = 1;
  // A save takes ten times as long under sanitizers, and longer on a busy machine: the time to live is a share of it.
  const auto begin = std::chrono::steady_clock::now();
  (void)save(output_dir / "measured", 1, true, 2);
  const auto one_save = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  std::filesystem::remove_all(output_dir / "measured");

  for (int round = 0; round < 12; ++round) {
    const auto child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (auto step = first_step;; ++step) (void)save(output_dir, step, true, 2);
    }
    std::this_thread::sleep_for(one_save * (20 + random() % 480) / 100);
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));

    for (const auto& name : names_in(output_dir)) unfinished += name.ends_with(".part") ? 1 : 0;
    const auto found = list_checkpoints(output_dir);
    for (const auto& folder : found) EXPECT_TRUE(verify_checkpoint(folder.path).empty()) << folder.path;
    const auto latest = find_latest_checkpoint(output_dir);
    EXPECT_EQ(latest.has_value(), !found.empty());
    if (first_step > 1) {
      ASSERT_TRUE(latest);
    }
    if (latest) {
      EXPECT_EQ(latest->step, found.back().step);
      first_step = latest->step + 1;
    }
  }

  EXPECT_GT(first_step, 1);  // some were completed
  EXPECT_GT(unfinished, 0);  // some were interrupted
}

}  // namespace
}  // namespace dstrain
