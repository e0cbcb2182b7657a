// SPDX-License-Identifier: Apache-2.0
/// A job that ends in the way its argument says; ctest looks at how.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <thread>

#include "comm/bootstrap.hpp"
#include "comm/checked_communicator.hpp"
#include "comm/mpi_communicator.hpp"

namespace {

using namespace dstrain;

void sum_once(Communicator& comm, const char* label) {
  std::int64_t one = 1;
  comm.all_reduce(View(&one, 1, DType::i64), ReduceOp::sum, Stream{}, label);
  DSTRAIN_CHECK(one == comm.size(), "a sum of ones is {}", one);
}

ExitCode good(Communicator& comm) {
  sum_once(comm, "good");
  comm.close();
  return ExitCode::good;
}

/// A good ending with a code: everybody's output comes first.
ExitCode signal_code(Communicator& comm) {
  sum_once(comm, "signal");
  std::this_thread::sleep_for(std::chrono::milliseconds(100 * comm.rank()));
  std::printf("rank %d is done\n", comm.rank());
  comm.close();
  return ExitCode::stopped_on_signal;
}

/// Case 1: wrong before it starts, on one rank.
ExitCode agreed(Communicator& comm) {
  on_all_ranks(comm, "reading the config", [&] {
    if (comm.rank() == 0)
      throw ConfigError("unknown key \"lerning_rate\"", "cfg.yaml:3", "did you mean learning_rate?");
  });
  return ExitCode::good;
}

/// Case 2: one rank breaks while the others wait for it.
ExitCode throw_in_the_middle(Communicator& comm) {
  sum_once(comm, "before");
  if (comm.rank() == comm.size() - 1)
    throw IoError("disk full", "shard-1.h5", "free some space").with_code(ExitCode::failed);
  sum_once(comm, "after");
  return ExitCode::good;
}

ExitCode throw_in_a_thread(Communicator& comm) {
  sum_once(comm, "before");
  std::thread thread;
  if (comm.rank() == 0) thread = std::thread([] { throw RefusedError("the writer thread broke"); });
  sum_once(comm, "one more");
  for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
}

/// Case 3: rank 1 is elsewhere.
ExitCode never_arrives(Communicator& comm) {
  sum_once(comm, "all are here");
  comm.set_timeout(3);
  if (comm.rank() == 1) {
    for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
  }
  std::vector<float> full(static_cast<std::size_t>(comm.size()) * 10), shard(10);
  comm.reduce_scatter(ConstView(std::span<const float>(full)), View(std::span(shard)), Stream{}, "layer 12 backward");
  return ExitCode::good;
}

/// Rank 1's process no longer runs at all: it can answer nobody.
ExitCode is_stopped(Communicator& comm) {
  sum_once(comm, "all are here");
  comm.set_timeout(6);
  if (comm.rank() == 1) std::raise(SIGSTOP);
  sum_once(comm, "after the stop");
  return ExitCode::good;
}

/// Rank 1 leaves a call out and waits in the next one.
ExitCode skips_a_collective(Communicator& comm) {
  sum_once(comm, "all are here");
  comm.set_timeout(6);
  std::vector<float> full(static_cast<std::size_t>(comm.size()) * 10), shard(10);
  if (comm.rank() != 1)
    comm.reduce_scatter(ConstView(std::span<const float>(full)), View(std::span(shard)), Stream{}, "gradients");
  comm.barrier("end of the step");
  return ExitCode::good;
}

/// Rank 1 comes late, but it comes: those that wait say so, and the job goes on.
ExitCode comes_late(Communicator& comm) {
  sum_once(comm, "all are here");
  comm.set_timeout(8);
  if (comm.rank() == 1) std::this_thread::sleep_for(std::chrono::seconds(6));
  sum_once(comm, "after the wait");
  comm.close();
  return ExitCode::good;
}

ExitCode waits_for_a_message(Communicator& comm) {
  comm.set_timeout(3);
  float value = 0;
  if (comm.rank() == 0) comm.recv(View(&value, 1, DType::f32), 1, "first batch");
  for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
}

}  // namespace

int main(int argc, char** argv) {
  const std::map<std::string, ExitCode (*)(Communicator&)> modes = {{"good", good},
                                                                    {"signal", signal_code},
                                                                    {"agreed", agreed},
                                                                    {"throw", throw_in_the_middle},
                                                                    {"thread", throw_in_a_thread},
                                                                    {"never", never_arrives},
                                                                    {"stopped", is_stopped},
                                                                    {"skip", skips_a_collective},
                                                                    {"late", comes_late},
                                                                    {"message", waits_for_a_message}};
  return spmd_main(argc, argv, [&](MpiSession&) {
    if (argc != 2 || modes.count(argv[1]) == 0) throw ConfigError("failing_job takes one mode");
    const auto comm = make_world_communicator();
    return modes.at(argv[1])(*comm);
  });
}
