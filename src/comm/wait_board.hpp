// SPDX-License-Identifier: Apache-2.0
/// How watchdogs of different ranks talk while the ranks themselves are stuck. Only for the .cpp files of comm/.
#pragma once

#include <cstdint>
#include <list>
#include <span>
#include <string>
#include <vector>

#include "comm/mpi_handles.hpp"
#include "comm/whereabouts.hpp"

namespace dstrain {

/// Questions and answers between the watchdogs, as small messages on a communicator of their own.
///
/// Nothing is sent while all is well. A rank's watchdog asks; the other's answers from its recorder, whatever its rank
/// does meanwhile; a process that is stopped or cut off does not answer. One question per rank is on its way at most.
/// Needs MPI_THREAD_MULTIPLE. Except for construction and close(), one thread calls it: the watchdog's.
class WaitBoard {
 public:
  /// Collective over `parent`.
  WaitBoard(MPI_Comm parent, const FlightRecorder& recorder);
  WaitBoard(const WaitBoard&) = delete;
  WaitBoard& operator=(const WaitBoard&) = delete;
  ~WaitBoard();

  /// Answers what others ask and takes their answers. Local; never waits.
  void serve();
  /// Forgets what `to` answered before and asks it again. Local; never waits.
  void ask(int to);
  /// What every rank answered; those that were never asked are marked so.
  [[nodiscard]] std::span<const RankReport> reports() const noexcept { return reports_; }
  void forget();

  [[nodiscard]] const std::vector<std::string>& hosts() const noexcept { return hosts_; }
  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] int size() const noexcept { return static_cast<int>(reports_.size()); }

  /// Collective; the watchdog has ended.
  void close();

 private:
  struct Message {
    std::uint32_t serial = 0;
    Whereabouts where;
  };
  struct Outgoing {
    MPI_Request request = MPI_REQUEST_NULL;
    Message message;
  };
  void send(const Message& message, int to, int tag);
  void drop_sent();

  MpiComm comm_;
  const FlightRecorder& recorder_;
  int rank_ = 0;
  std::vector<RankReport> reports_;
  std::vector<std::string> hosts_;
  std::uint32_t serial_ = 0;
  std::vector<std::uint32_t> asked_as_;  ///< serial of the question that a rank has not answered; 0: none
  std::list<Outgoing> outgoing_;         ///< a list: MPI keeps the addresses
};

}  // namespace dstrain
