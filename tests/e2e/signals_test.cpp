// SPDX-License-Identifier: Apache-2.0
/// Signals to one rank of a running job: agreed by all, a checkpoint, exit code 75; and what cannot be agreed.
#include <gtest/gtest.h>

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <sstream>
#include <thread>
#include <vector>

#include "io/checkpoint/folders.hpp"
#include "io/checkpoint/inspect.hpp"
#include "run_support.hpp"

namespace dstrain::test::signals_test {
namespace {

using std::chrono::milliseconds;

/// A job of three ranks that would run for a long time, and its processes.
class Job {
 public:
  /// @param environment  of the ranks, on top of this process's
  explicit Job(const std::string& extra = {}, const std::vector<std::string>& environment = {})
      : folder_(fresh_folder()) {
    const auto command = fmt::format(
        "{}{} train --model_name_or_path preset:nano --dataset synthetic --synthetic_rows 4096 --cutoff_len 48 --stage "
        "pt "
        "--finetuning_type full --do_train --max_steps 100000 --logging_steps 1 --save_steps 100000 --zero_stage 3 "
        "--per_device_train_batch_size 1 --output_dir {} {}",
        mpirun(3), binary(), folder_.string(), extra);
    result_ = std::async(std::launch::async, [command, environment] { return run(command, environment); });
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  /// A test that failed leaves nothing running.
  ~Job() {
    if (!result_.valid()) return;
    while (result_.wait_for(milliseconds(20)) != std::future_status::ready) {  // its ranks may not have begun yet
      for (int rank = 0; rank < 3; ++rank) {
        if (const pid_t pid = find(rank); pid > 0) ::kill(pid, SIGKILL);
      }
    }
  }

  /// Waits until so many steps are done.
  [[nodiscard]] bool trains(int steps = 3) const {
    for (int i = 0; i < 1200; ++i) {
      std::ifstream log(folder_ / "trainer_log.jsonl");
      if (std::count(std::istreambuf_iterator<char>(log), {}, '\n') >= steps) return true;
      std::this_thread::sleep_for(milliseconds(50));
    }
    return false;
  }
  /// Waits until the program has taken the signal over from the system, which is the first thing it does.
  [[nodiscard]] bool listens(int rank, int number) const {
    for (int i = 0; i < 60000; ++i) {
      if (const pid_t pid = find(rank); pid > 0 && catches(pid, number)) return true;
      std::this_thread::sleep_for(milliseconds(1));
    }
    return false;
  }
  void signal(int rank, int number) const {
    const pid_t pid = find(rank);
    ASSERT_GT(pid, 0) << "rank " << rank << " was not found";
    ASSERT_EQ(::kill(pid, number), 0);
  }
  ProcessResult wait() { return result_.get(); }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

 private:
  [[nodiscard]] static bool catches(pid_t pid, int number) {
    std::ifstream status(fmt::format("/proc/{}/status", pid));
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("SigCgt:")) return (std::stoull(line.substr(7), nullptr, 16) >> (number - 1) & 1) != 0;
    }
    return false;
  }

  /// A file of a process; "" where it has ended meanwhile, which fails the reading of an open file too.
  [[nodiscard]] static std::string of_process(const std::filesystem::path& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  }

  /// The process of that rank: the binary with this job's folder among its words.
  [[nodiscard]] pid_t find(int rank) const {
    const std::string as_rank = '\0' + fmt::format("OMPI_COMM_WORLD_RANK={}", rank) + '\0';
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      if (of_process(entry.path() / "cmdline").find(folder_.string()) == std::string::npos) continue;
      if (('\0' + of_process(entry.path() / "environ")).find(as_rank) != std::string::npos) return std::stoi(name);
    }
    return -1;
  }

  std::filesystem::path folder_;
  std::future<ProcessResult> result_;
};

class Signal : public testing::TestWithParam<int> {};

TEST_P(Signal, OnOneRankIsAgreedByAll) {
  Job job;
  ASSERT_TRUE(job.trains());

  job.signal(2, GetParam());
  const auto result = job.wait();

  EXPECT_EQ(result.exit_code, 75) << result.err;
  EXPECT_EQ(result.err.find("error:"), std::string::npos) << result.err;
  const auto checkpoint = find_latest_checkpoint(job.folder());
  ASSERT_TRUE(checkpoint);
  EXPECT_GE(checkpoint->step, 3);
}

INSTANTIATE_TEST_SUITE_P(Signals, Signal, testing::Values(SIGTERM, SIGUSR1, SIGINT));

// It arrives before the rank has so much as connected to the others.
TEST_P(Signal, DuringTheStartIsAgreedBeforeTheFirstStep) {
  Job job;
  ASSERT_TRUE(job.listens(2, GetParam()));

  job.signal(2, GetParam());
  const auto result = job.wait();

  EXPECT_EQ(result.exit_code, 75) << result.err;
  const auto said = fmt::format("signal {}: stopping before", GetParam());
  const auto at = result.err.find(said);
  ASSERT_NE(at, std::string::npos) << result.err;
  EXPECT_EQ(result.err.find(said, at + 1), std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("error:"), std::string::npos) << result.err;
  EXPECT_FALSE(std::filesystem::exists(job.folder() / "trainer_log.jsonl"));
  EXPECT_FALSE(find_latest_checkpoint(job.folder()));
}

// A checkpoint is on its way to a slow disk: it is completed, and the one of the stop after it.
TEST(SignalBesideACheckpoint, CompletesWhatIsInFlight) {
  Job job("--save_steps 4 --async_checkpoint_max_lag 100000",
          {std::string("LD_PRELOAD=") + DSTRAIN_FAULTY_DISK, "FAULTY_DISK_MATCH=/checkpoint-4.part/shard-00002",
           "FAULTY_DISK_DELAY_MS=100"});
  ASSERT_TRUE(job.trains(5));
  ASSERT_FALSE(std::filesystem::exists(job.folder() / "checkpoint-4"));

  job.signal(1, SIGUSR1);
  const auto result = job.wait();

  EXPECT_EQ(result.exit_code, 75) << result.err;
  EXPECT_EQ(list_checkpoints(job.folder()).size(), 2U) << result.err;
  EXPECT_TRUE(verify_checkpoint(job.folder() / "checkpoint-4").empty());
  const auto latest = find_latest_checkpoint(job.folder());
  ASSERT_TRUE(latest);
  EXPECT_GT(latest->step, 4);
  EXPECT_TRUE(verify_checkpoint(latest->path).empty());
}

// The second one comes while the first is not agreed yet: another rank is stopped, so that no step can end.
TEST(SecondInterrupt, StopsAtOnce) {
  Job job;
  ASSERT_TRUE(job.trains());
  job.signal(1, SIGSTOP);

  job.signal(2, SIGINT);
  std::this_thread::sleep_for(milliseconds(500));
  job.signal(2, SIGINT);
  const auto start = std::chrono::steady_clock::now();
  const auto result = job.wait();

  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  EXPECT_NE(result.exit_code, 0);
  EXPECT_NE(result.exit_code, 75);
}

TEST(StoppedRank, IsNamedBeforeTheTimeoutAndAtIt) {
  Job job("--ddp_timeout 8");
  ASSERT_TRUE(job.trains());

  job.signal(1, SIGSTOP);
  const auto start = std::chrono::steady_clock::now();
  const auto result = job.wait();

  EXPECT_EQ(result.exit_code, 1) << result.err;
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(8 + 15));
  for (const char* kind : {"warning: rank 0@", "error: rank 0@"}) {
    const auto at = result.err.find(kind);
    ASSERT_NE(at, std::string::npos) << result.err;
    const auto line = result.err.substr(at, result.err.find('\n', at) - at);
    // Rank 0 may wait in a collective, or in handing rows to rank 1; then rank 2 waits for its own.
    EXPECT_TRUE(line.find("rank 2 waits there too") != std::string::npos ||
                line.find("rank 2 is in recv") != std::string::npos)
        << line;
    EXPECT_NE(line.find("rank 1 does not answer"), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace dstrain::test::signals_test
