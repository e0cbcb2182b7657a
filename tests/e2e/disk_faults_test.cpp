// SPDX-License-Identifier: Apache-2.0
/// Disks that are full, slow, hung, read-only or gone: one message, the last good checkpoint stays, the run resumes.
#include <gtest/gtest.h>

#include <fmt/format.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <thread>

#include "io/checkpoint/folders.hpp"
#include "io/checkpoint/inspect.hpp"
#include "run_support.hpp"

namespace dstrain::test::disk_faults_test {
namespace {

namespace fs = std::filesystem;

/// 12 rows a step; a checkpoint is some MiB in two shards.
std::string train_command(const fs::path& output_dir, const std::string& extra) {
  return fmt::format(
      "{}{} train --model_name_or_path preset:nano --dataset synthetic --synthetic_rows 96 --cutoff_len 32 --stage pt "
      "--finetuning_type full --do_train --learning_rate 1e-3 --zero_stage 2 --per_device_train_batch_size 6 "
      "--logging_steps 1 --output_dir {} {}",
      mpirun(2), binary(), quoted(output_dir.string()), extra);
}

std::vector<std::string> faulty(const std::vector<std::string>& settings) {
  std::vector<std::string> environment{std::string("LD_PRELOAD=") + DSTRAIN_FAULTY_DISK,
                                       "FAULTY_DISK_MATCH=/checkpoint-4.part/shard-00002"};
  environment.insert(environment.end(), settings.begin(), settings.end());
  return environment;
}

std::size_t count(const std::string& text, const std::string& word) {
  std::size_t n = 0;
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++n;
  return n;
}

bool has_part(const fs::path& output_dir) {
  for (const auto& entry : fs::directory_iterator(output_dir)) {
    if (entry.path().extension() == ".part") return true;
  }
  return false;
}

/// A small file system in memory, as long as it lives.
class SmallDisk {
 public:
  SmallDisk(fs::path at, const std::string& options) : at_(std::move(at)) {
    fs::create_directories(at_);
    if (::mount("tmpfs", at_.c_str(), "tmpfs", 0, options.c_str()) != 0) problem_ = std::strerror(errno);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  ~SmallDisk() {
    if (problem_.empty()) ::umount2(at_.c_str(), MNT_DETACH);
  }
  [[nodiscard]] const std::string& problem() const { return problem_; }
  [[nodiscard]] bool make_read_only() const {
    return ::mount("tmpfs", at_.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) == 0;
  }

 private:
  fs::path at_;
  std::string problem_;
};

void expect_resumes(const fs::path& output_dir, std::int64_t step, int max_steps) {
  const auto newest = find_latest_checkpoint(output_dir);
  ASSERT_TRUE(newest);
  EXPECT_EQ(newest->step, step);
  EXPECT_TRUE(verify_checkpoint(newest->path).empty());
  const auto again = run(train_command(
      output_dir, fmt::format("--resume_from_checkpoint true --save_strategy no --max_steps {}", max_steps)));
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_NE(again.err.find(fmt::format("at step {}", step)), std::string::npos) << again.err;
}

TEST(DiskFaults, AFullDiskEndsTheRunAfterItsLastGoodCheckpoint) {
  const auto folder = fresh_folder();
  // Room for two checkpoints, and less than what is asked for before a third is begun.
  ASSERT_EQ(run(train_command(folder / "size", "--max_steps 2 --save_steps 2")).exit_code, 0);
  std::uintmax_t bytes = 0;
  for (const auto& file : fs::directory_iterator(folder / "size/checkpoint-2")) bytes += file.file_size();
  const SmallDisk disk(folder / "disk", fmt::format("size={}", 2 * bytes + (5 << 19)));
  if (!disk.problem().empty()) GTEST_SKIP() << "skipped: no mount: " << disk.problem();
  const auto output_dir = folder / "disk/out";

  const auto result = run(train_command(output_dir, "--max_steps 8 --save_steps 2"));

  EXPECT_EQ(result.exit_code, 1) << result.err;
  EXPECT_EQ(count(result.err, "error:"), 1U) << result.err;
  EXPECT_NE(result.err.find("bytes, "), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("save_total_limit"), std::string::npos) << result.err;
  EXPECT_FALSE(has_part(output_dir));
  // The model of the resumed run needs room too.
  fs::remove_all(output_dir / "checkpoint-2");
  expect_resumes(output_dir, 4, 5);
}

TEST(DiskFaults, ARunThatCannotSaveIsRefusedBeforeItTrains) {
  const auto folder = fresh_folder();
  const SmallDisk disk(folder / "disk", "size=512k");
  if (!disk.problem().empty()) GTEST_SKIP() << "skipped: no mount: " << disk.problem();

  const auto result = run(train_command(folder / "disk/out", "--max_steps 2"));

  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_NE(result.err.find("checkpoint"), std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("step 1"), std::string::npos) << result.err;
}

TEST(DiskFaults, AReadOnlyFolderIsSaidBeforeItTrains) {
  const auto folder = fresh_folder();
  const SmallDisk disk(folder / "disk", "size=64m");
  if (!disk.problem().empty()) GTEST_SKIP() << "skipped: no mount: " << disk.problem();
  fs::create_directories(folder / "disk/out");
  ASSERT_TRUE(disk.make_read_only());

  const auto result = run(train_command(folder / "disk/out", "--max_steps 2"));

  EXPECT_EQ(result.exit_code, 1) << result.err;
  EXPECT_EQ(count(result.err, "error:"), 1U) << result.err;
  EXPECT_NE(result.err.find("Read-only file system"), std::string::npos) << result.err;
}

// The disk fails in the middle of a shard that one rank writes behind training.
TEST(DiskFaults, AWriteErrorBehindTrainingComesUpAtTheNextBoundary) {
  for (const auto& [number, text] : {std::pair{ENOSPC, "No space left on device"}, {EIO, "Input/output error"}}) {
    const auto output_dir = fresh_folder();

    const auto result = run(train_command(output_dir, "--max_steps 12 --save_steps 2"),
                            faulty({"FAULTY_DISK_AFTER=100000", fmt::format("FAULTY_DISK_ERRNO={}", number)}));

    EXPECT_EQ(result.exit_code, 1) << result.err;
    EXPECT_EQ(count(result.err, "error:"), 1U) << result.err;
    EXPECT_NE(result.err.find(text), std::string::npos) << result.err;
    EXPECT_NE(result.err.find("rank 1"), std::string::npos) << result.err;
    EXPECT_FALSE(has_part(output_dir));
    expect_resumes(output_dir, 2, 4);
  }
}

TEST(DiskFaults, ASlowDiskDoesNotStopTrainingAndLosesNothing) {
  const auto output_dir = fresh_folder();

  const auto result = run(train_command(output_dir, "--max_steps 8 --save_steps 4 --async_checkpoint_max_lag 3"),
                          faulty({"FAULTY_DISK_DELAY_MS=10"}));

  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto saved = result.err.find("saved ");
  ASSERT_NE(saved, std::string::npos) << result.err;
  EXPECT_NE(result.err.find("checkpoint-4: "), std::string::npos) << result.err;
  EXPECT_EQ(list_checkpoints(output_dir).size(), 2U);
  EXPECT_TRUE(verify_checkpoint(output_dir / "checkpoint-4").empty());
}

// The bound on lost work: while checkpoint-4 is on its way to a slow disk, only the steps of its lag are made.
TEST(DiskFaults, NoStepIsDoneBeyondTheLagOfACheckpoint) {
  for (const auto& [lag, last] : {std::pair{"", 4}, {"--async_checkpoint_max_lag 2", 6}}) {
    const auto output_dir = fresh_folder();
    auto result = std::async(std::launch::async, [&, keys = fmt::format("--max_steps 12 --save_steps 4 {}", lag)] {
      return run(train_command(output_dir, keys), faulty({"FAULTY_DISK_DELAY_MS=100"}));
    });

    std::ptrdiff_t done = 0;  // while it is not complete
    while (result.wait_for(std::chrono::milliseconds(5)) != std::future_status::ready) {
      std::ifstream log(output_dir / "trainer_log.jsonl");
      const auto lines = std::count(std::istreambuf_iterator<char>(log), {}, '\n');
      if (fs::exists(output_dir / "checkpoint-4")) break;
      done = lines;
    }

    EXPECT_EQ(done, last);
    const auto said = result.get();
    EXPECT_EQ(said.exit_code, 0) << said.err;
    EXPECT_EQ(list_checkpoints(output_dir).size(), 3U) << said.err;
  }
}

TEST(DiskFaults, AHungDiskEndsTheRunAfterDdpTimeout) {
  const auto output_dir = fresh_folder();

  const auto result =
      run("timeout -k 5 120 " + train_command(output_dir, "--max_steps 8 --save_steps 4 --ddp_timeout 3"),
          faulty({"FAULTY_DISK_HANG=1"}));

  EXPECT_EQ(result.exit_code, 1) << result.err;
  EXPECT_NE(result.err.find("the disk took nothing for"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("shard-00002"), std::string::npos) << result.err;
}

TEST(DiskFaults, AVanishedFolderEndsTheRun) {
  const auto folder = fresh_folder();
  const auto output_dir = folder / "out";

  auto result = std::async(std::launch::async, [&] {
    return run("timeout -k 5 300 " +
               train_command(output_dir, "--max_steps 100000 --save_steps 2 --save_total_limit 2"));
  });
  for (int i = 0; i < 6000 && !fs::exists(output_dir / "latest"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ASSERT_TRUE(fs::exists(output_dir / "latest"));
  fs::rename(output_dir, folder / "moved");

  const auto said = result.get();
  EXPECT_EQ(said.exit_code, 1) << said.err;
  EXPECT_EQ(count(said.err, "error:"), 1U) << said.err;
  EXPECT_FALSE(fs::exists(output_dir)) << "nothing is written to a place that only has the name";
  const auto newest = find_latest_checkpoint(folder / "moved");
  ASSERT_TRUE(newest);
  EXPECT_TRUE(verify_checkpoint(newest->path).empty());
}

}  // namespace
}  // namespace dstrain::test::disk_faults_test
