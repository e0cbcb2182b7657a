// SPDX-License-Identifier: Apache-2.0
/// SIGTERM, SIGUSR1 and SIGINT as a request to stop where all ranks agree to.
#pragma once

namespace dstrain {

/// While it lives, SIGTERM, SIGUSR1 (Slurm's warning) and a first SIGINT only raise a flag that ranks agree on before
/// the first step and at the end of each; a second SIGINT ends the process as usual. Best made before MPI is started: a
/// rank that dies of a signal while it connects can leave mpirun waiting for ever. One at a time in a process.
class StopSignal {
 public:
  StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  ~StopSignal();

  /// The signal that came to this rank, or 0. Local.
  [[nodiscard]] static int received() noexcept;

  /// Nobody will ask any more: from here on the signals do what they do in any program, one that came already at once.
  /// Local.
  static void let_go() noexcept;
};

}  // namespace dstrain
