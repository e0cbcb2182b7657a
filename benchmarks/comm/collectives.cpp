// SPDX-License-Identifier: Apache-2.0
/// mpirun -np P bench_collectives [largest MiB]: reduce_scatter, all_gather, all_reduce and barrier of MpiCommunicator
/// beside the calls of the MPI library, checked first, then timed.
///
/// Sizes are those of the whole vector (`full`), f32. Medians of the slowest rank's times; busbw = (P-1)/P * bytes /
/// time, as nccl-tests defines it. `registered` buffers are shared windows; `plain` ones go through staging.
#include <mpi.h>

#include <unistd.h>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>

#include "comm/bootstrap.hpp"
#include "comm/mpi_communicator.hpp"

namespace {

using namespace dstrain;

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Seconds since this process was started, as the kernel counts (10 ms steps).
double seconds_since_start() {
  std::ifstream stat("/proc/self/stat"), uptime("/proc/uptime");
  std::string word;
  double up = 0;
  uptime >> up;
  for (int field = 1; field <= 22; ++field) stat >> word;
  return up - std::atof(word.c_str()) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

/// Median over the repeats of the slowest rank's time, in ms. `prepare` is not timed: it writes what will be sent, as a
/// backward pass or an optimizer does, so that no rank finds the others' data in its own cache.
double median_ms(
    Communicator& comm, const std::function<void()>& call, int repeats, const std::function<void()>& prepare = [] {}) {
  for (int i = 0; i < 2; ++i) call();
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    prepare();
    MPI_Barrier(MPI_COMM_WORLD);
    const double start = seconds_now();
    call();
    double elapsed = seconds_now() - start;
    comm.all_reduce(View(&elapsed, 1, DType::f64), ReduceOp::max, Stream{}, "time");
    times.push_back(elapsed * 1e3);
  }
  std::nth_element(times.begin(), times.begin() + repeats / 2, times.end());
  return times[static_cast<std::size_t>(repeats / 2)];
}

void require(bool good, const char* what) {
  if (!good) throw Error(fmt::format("{} gave a wrong result", what));
}

struct Buffers {
  float* registered;
  std::vector<float> plain, shard;
};

void measure(MpiCommunicator& comm, std::int64_t bytes, Buffers& buffers) {
  const std::int64_t size = comm.size(), full = bytes / 4 / size * size, count = full / size;
  const int repeats = bytes <= (1 << 20) ? 101 : bytes <= (16 << 20) ? 31 : 15;
  std::fill_n(buffers.registered, full, static_cast<float>(comm.rank() + 1));
  std::fill_n(buffers.plain.data(), full, static_cast<float>(comm.rank() + 1));
  float* shard = buffers.shard.data();
  const float sum = static_cast<float>(size * (size + 1) / 2);
  const View out(shard, count, DType::f32);
  const auto reduce = [&](const float* from) {
    return [&, from] { comm.reduce_scatter(ConstView(from, full, DType::f32), out, Stream{}, "bench"); };
  };
  const std::vector<int> counts(static_cast<std::size_t>(size), static_cast<int>(count));
  const auto mpi_reduce = [&] {
    MPI_Reduce_scatter(buffers.plain.data(), shard, counts.data(), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  };
  const auto mpi_reduce_block = [&] {
    MPI_Reduce_scatter_block(buffers.plain.data(), shard, static_cast<int>(count), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  };
  reduce(buffers.registered)();
  require(count == 0 || shard[count - 1] == sum, "reduce_scatter, registered");
  reduce(buffers.plain.data())();
  require(count == 0 || shard[0] == sum, "reduce_scatter, plain");
  const auto write = [](float* to, std::int64_t n, float value) { return [=] { std::fill_n(to, n, value); }; };
  const auto mine = static_cast<float>(comm.rank() + 1);
  const auto write_registered = write(buffers.registered, full, mine),
             write_plain = write(buffers.plain.data(), full, mine);
  const double r1 = median_ms(comm, reduce(buffers.registered), repeats, write_registered),
               r2 = median_ms(comm, reduce(buffers.plain.data()), repeats, write_plain),
               r3 = median_ms(comm, mpi_reduce, repeats, write_plain),
               r4 = median_ms(comm, mpi_reduce_block, repeats, write_plain);

  std::fill_n(shard, count, static_cast<float>(comm.rank()));
  const auto gather_in_place = [&] {
    comm.all_gather(ConstView(buffers.registered + comm.rank() * count, count, DType::f32),
                    View(buffers.registered, full, DType::f32), Stream{}, "bench");
  };
  const auto gather = [&] {
    comm.all_gather(ConstView(shard, count, DType::f32), View(buffers.plain.data(), full, DType::f32), Stream{},
                    "bench");
  };
  const auto mpi_gather = [&] {
    MPI_Allgather(shard, static_cast<int>(count), MPI_FLOAT, buffers.plain.data(), static_cast<int>(count), MPI_FLOAT,
                  MPI_COMM_WORLD);
  };
  gather();
  require(buffers.plain[static_cast<std::size_t>(full - 1)] == static_cast<float>(size - 1), "all_gather, plain");
  gather_in_place();
  require(buffers.registered[full - 1] == static_cast<float>(size), "all_gather, registered");
  const auto write_shard = write(shard, count, static_cast<float>(comm.rank()));
  const double g1 = median_ms(comm, gather_in_place, repeats,
                              write(buffers.registered + comm.rank() * count, count, mine)),
               g2 = median_ms(comm, gather, repeats, write_shard),
               g3 = median_ms(comm, mpi_gather, repeats, write_shard);
  if (comm.rank() != 0) return;
  const double moved = static_cast<double>(full) * 4 * static_cast<double>(size - 1) / static_cast<double>(size) * 1e-6;
  std::printf("%8lld KiB | %8.3f %8.3f %8.3f %8.3f | %6.2f | %8.3f %8.3f %8.3f | %6.2f\n",
              static_cast<long long>(bytes / 1024), r1, r2, r3, r4, moved / r1, g1, g2, g3, moved / g1);
}

ExitCode run(MpiSession& session, std::int64_t largest) {
  if (session.size() < 2) throw ConfigError("collectives need two ranks or more", "", "mpirun -np 2 bench_collectives");
  MpiCommunicator comm;
  double started = seconds_since_start();
  comm.all_reduce(View(&started, 1, DType::f64), ReduceOp::max, Stream{}, "first");
  Buffers buffers{static_cast<float*>(comm.allocate_registered(largest)),
                  std::vector<float>(static_cast<std::size_t>(largest) / 4),
                  std::vector<float>(static_cast<std::size_t>(largest) / 4)};
  if (comm.rank() == 0) {
    std::printf("%d ranks on %d node(s), shared windows %s; first collective %.2f s after the start\n", comm.size(),
                comm.node_count(), comm.uses_shared_windows() ? "yes" : "no", started);
    std::printf("                reduce_scatter, ms                  busbw  all_gather, ms             busbw\n");
    std::printf("   full size | register    plain      MPI MPIblock |   GB/s | register    plain      MPI |   GB/s\n");
  }
  for (std::int64_t bytes = 64 << 10; bytes <= largest; bytes *= 4) measure(comm, bytes, buffers);
  std::int64_t one = 1;
  const double ours = median_ms(
                          comm,
                          [&] {
                            for (int i = 0; i < 100; ++i) comm.barrier("bench");
                          },
                          51) *
                      10;
  const double mpi = median_ms(
                         comm,
                         [] {
                           for (int i = 0; i < 100; ++i) MPI_Barrier(MPI_COMM_WORLD);
                         },
                         51) *
                     10;
  const double sum = median_ms(
                         comm,
                         [&] {
                           for (int i = 0; i < 100; ++i)
                             comm.all_reduce(View(&one, 1, DType::i64), ReduceOp::max, Stream{}, "bench");
                         },
                         51) *
                     10;
  const double mpi_sum = median_ms(
                             comm,
                             [&] {
                               for (int i = 0; i < 100; ++i)
                                 MPI_Allreduce(MPI_IN_PLACE, &one, 1, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD);
                             },
                             51) *
                         10;
  if (comm.rank() == 0)
    std::printf("barrier %.2f us (MPI %.2f), all_reduce of 8 bytes %.2f us (MPI %.2f)\n", ours, mpi, sum, mpi_sum);
  comm.close();
  return ExitCode::good;
}

}  // namespace

int main(int argc, char** argv) {
  return spmd_main(argc, argv, [&](MpiSession& session) {
    const long mib = argc > 1 ? std::atol(argv[1]) : 64;
    if (mib < 1 || mib > 4096) throw ConfigError("the largest size is 1 to 4096 MiB");
    return run(session, std::int64_t{mib} << 20);
  });
}
