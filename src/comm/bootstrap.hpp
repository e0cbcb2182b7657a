// SPDX-License-Identifier: Apache-2.0
/// The life of an SPMD process: start MPI, run, end in good order or all at once.
#pragma once

#include <exception>
#include <functional>

#include "comm/topology.hpp"
#include "core/error.hpp"

namespace dstrain {

/// MPI from its initialization to its end. One per process.
///
/// Where all ranks are on one host, Open MPI is spared the search for network cards, unless the user has chosen
/// components (environment, mpirun --mca, parameter files).
class MpiSession {
 public:
  /// Collective. THREAD_MULTIPLE is asked for, THREAD_SERIALIZED accepted. Tells the log who this rank is.
  /// @throws CommError  MPI cannot be initialized, or gives fewer threads
  MpiSession(int& argc, char**& argv);
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
  /// Never communicates: a session that was not finalized belongs to a process that is about to abort.
  ~MpiSession();

  [[nodiscard]] const Topology& topology() const noexcept { return topology_; }
  [[nodiscard]] int rank() const noexcept { return topology_.rank; }
  [[nodiscard]] int size() const noexcept { return topology_.world_size; }

  /// Waits for all ranks and ends MPI. Collective. @throws CommError
  void finalize();

 private:
  Topology topology_;
  bool open_ = false;
};

/// Runs `body` on every rank and returns what main() should return.
///
/// - body returns a code: all ranks return the same one; the last barrier, then MPI_Finalize; rank 0 alone returns the
/// code,
///   the others 0, because mpirun kills the rest as soon as any rank returns something else.
/// - body throws AgreedError (on_all_ranks) on every rank: rank 0 prints it once; then as above with the error's code.
/// - body throws anything else: this rank prints it with rank@host, and the whole job is ended at once by MPI_Abort.
///
/// This is the only catch of the program. Errors that end a thread or a noexcept function go the same way.
int spmd_main(int argc, char** argv, const std::function<ExitCode(MpiSession&)>& body);

/// Prints the one error of a run: `error: <what> (<where>)`, then `  hint: <hint>`. Local.
/// @param tag  "rank@host", or empty where the whole job speaks
void print_error(const std::exception& error, const std::string& tag);

/// Ends the job with the message and exit code of `error`. Local; does not wait for anybody.
[[noreturn]] void die(const std::exception& error) noexcept;

}  // namespace dstrain
