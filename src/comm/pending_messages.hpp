// SPDX-License-Identifier: Apache-2.0
/// Messages over MPI that are waited for with a deadline, which MPI's own calls do not know.
#pragma once

#include <cstddef>
#include <vector>

#include "comm/mpi_handles.hpp"

namespace dstrain {

/// The open requests of one round of messages in MPI_COMM_WORLD, in the order in which they were begun. Local.
///
/// What is sent and received lies with the caller. Where wait() says that the deadline has passed, MPI may still write
/// there, and into the requests: both must then outlive MPI.
class PendingMessages {
 public:
  /// Begins to send; `data` stays until wait(). @throws CommError
  void send(const void* data, std::size_t bytes, int to, int tag);
  /// Begins to receive; `data` stays until wait(). @throws CommError
  void receive(void* data, std::size_t bytes, int from, int tag);

  /// True when all messages are done within `seconds`: then the next round may begin. @throws CommError
  bool wait(double seconds);
  /// After a wait() that was too short: message `index` of this round is not done.
  [[nodiscard]] bool open(std::size_t index) const { return requests_[index] != MPI_REQUEST_NULL; }

 private:
  std::vector<MPI_Request> requests_;
};

}  // namespace dstrain
