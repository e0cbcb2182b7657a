// SPDX-License-Identifier: Apache-2.0
#include "comm/pending_messages.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

namespace dstrain {

void PendingMessages::send(const void* data, std::size_t bytes, int to, int tag) {
  mpi_check(MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, to, tag, MPI_COMM_WORLD,
                      &requests_.emplace_back(MPI_REQUEST_NULL)),
            "MPI_Isend");
}

void PendingMessages::receive(void* data, std::size_t bytes, int from, int tag) {
  mpi_check(MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE, from, tag, MPI_COMM_WORLD,
                      &requests_.emplace_back(MPI_REQUEST_NULL)),
            "MPI_Irecv");
}

bool PendingMessages::wait(double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const auto until = start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  std::vector<int> done(requests_.size());
  for (;;) {
    int count = 0;
    mpi_check(
        MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count, done.data(), MPI_STATUSES_IGNORE),
        "MPI_Testsome");
    if (std::all_of(requests_.begin(), requests_.end(), [](MPI_Request one) { return one == MPI_REQUEST_NULL; })) {
      requests_.clear();
      return true;
    }
    const auto now = Clock::now();
    if (now > until) return false;
    if (now - start < std::chrono::milliseconds(2)) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
}

}  // namespace dstrain
