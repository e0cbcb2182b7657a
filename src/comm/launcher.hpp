// SPDX-License-Identifier: Apache-2.0
/// What the launcher's variables tell before MPI does, and what goes wrong between the two.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "comm/mca_defaults.hpp"

namespace dstrain {

/// This process as its launcher's variables describe it.
struct LauncherVariables {
  std::string launcher;  ///< "mpirun", "PMI", "srun", "torchrun", "Slurm" (a batch script); empty: started by hand
  int rank = 0;          ///< 0 where nobody says
  int world_size = 1;
  /// MPI can learn from the launcher who the other processes are.
  bool connects_mpi = false;
};

/// Reads OMPI_*, PMIX_*, PMI_*, SLURM_* and torchrun's variables. Local. @param environment  as in mca_defaults.hpp
LauncherVariables read_launcher_variables(const Environment& environment);
LauncherVariables read_launcher_variables();

/// What this host calls itself. Local.
std::string host_name();

/// Refuses processes that were started together, each of which would train alone: srun without PMI, torchrun.
/// Local; before MPI_Init.
/// @throws RefusedError  on each of them; the message is empty on all but the first, so that it is printed once
void refuse_lone_ranks(const LauncherVariables& launcher);

/// While it lives, says that MPI_Init does not end: after `timeout_s` once (the first process), after ten times that it
/// ends the process. The destructor stops it and waits for nobody else.
class InitWatch {
 public:
  InitWatch(const LauncherVariables& launcher, double timeout_s);
  InitWatch(const InitWatch&) = delete;
  InitWatch& operator=(const InitWatch&) = delete;
  ~InitWatch();

 private:
  void watch(const LauncherVariables& launcher, double timeout_s);

  std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace dstrain
