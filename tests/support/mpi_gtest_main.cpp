// SPDX-License-Identifier: Apache-2.0
/// main() of the tests that run under mpirun: every rank runs every test, a failure on any rank fails it on rank 0.
///
/// Rank 0 prints the results; other ranks print only what failed, at once and tagged, because a rank that leaves a test
/// early may leave the others waiting in a collective. Then the job is ended after a short grace instead of at ctest's
/// timeout.
#include <gtest/gtest.h>
#include <mpi.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

namespace {

constexpr auto grace = std::chrono::seconds(20);

class OneVerdict : public testing::EmptyTestEventListener {
 public:
  explicit OneVerdict(MPI_Comm comm) : comm_(comm) { MPI_Comm_rank(comm_, &rank_); }
  [[nodiscard]] bool any_failed() const { return any_failed_; }

  void OnTestStart(const testing::TestInfo&) override { failed_here_ = 0; }

  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    failed_here_ = 1;
    if (rank_ == 0) return;  // the printer shows it
    const std::string line = "[rank " + std::to_string(rank_) + "] " + (result.file_name() ? result.file_name() : "?") +
                             ":" + std::to_string(result.line_number()) + ": " + result.message() + "\n";
    std::fwrite(line.data(), 1, line.size(), stderr);
    std::fflush(stderr);
  }

  // Appended listeners hear of an end before the printer does: a failure added here is part of the test's result.
  void OnTestEnd(const testing::TestInfo& test) override {
    int failed_ranks = 0;
    MPI_Request request;
    MPI_Iallreduce(&failed_here_, &failed_ranks, 1, MPI_INT, MPI_SUM, comm_, &request);
    const auto deadline = std::chrono::steady_clock::now() + grace;
    for (int done = 0; done == 0;) {
      MPI_Test(&request, &done, MPI_STATUS_IGNORE);
      if (done != 0) break;
      if (failed_here_ != 0 && std::chrono::steady_clock::now() > deadline) {
        std::fprintf(stderr, "[rank %d] %s.%s failed here while another rank still waits in it; ending the job\n",
                     rank_, test.test_suite_name(), test.name());
        std::fflush(stdout);
        MPI_Abort(comm_, 1);
      }
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    if (failed_ranks == 0) return;
    any_failed_ = true;
    if (rank_ == 0 && failed_here_ == 0) ADD_FAILURE() << failed_ranks << " other rank(s) failed, see [rank N] above";
  }

 private:
  MPI_Comm comm_;
  int rank_ = 0;
  int failed_here_ = 0;
  bool any_failed_ = false;
};

/// Only rank 0 may write --gtest_output's file.
void drop_output_flag(int& argc, char** argv) {
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--gtest_output", 14) != 0) argv[kept++] = argv[i];
  }
  argc = kept;
  argv[kept] = nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
  MPI_Comm verdicts = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &verdicts);
  int rank = 0;
  MPI_Comm_rank(verdicts, &rank);
  if (rank != 0) drop_output_flag(argc, argv);

  testing::InitGoogleTest(&argc, argv);
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (rank != 0) delete listeners.Release(listeners.default_result_printer());
  auto* verdict = new OneVerdict(verdicts);  // owned by GoogleTest
  listeners.Append(verdict);
  const int result = RUN_ALL_TESTS();
  const bool good = result == 0 && !verdict->any_failed();

  MPI_Comm_free(&verdicts);
  MPI_Finalize();
  return good ? 0 : 1;
}
