// SPDX-License-Identifier: Apache-2.0
/// SIGTERM, SIGUSR1 and SIGINT as a request to stop at the next step boundary.
#pragma once

namespace dstrain {

/// While it lives, SIGTERM, SIGUSR1 (Slurm's warning) and a first SIGINT only raise a flag that ranks agree on at the
/// end of a step; a second SIGINT ends the process as usual. One at a time in a process.
class StopSignal {
 public:
  StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  ~StopSignal();

  /// The signal that came to this rank, or 0. Local.
  [[nodiscard]] static int received() noexcept;
};

}  // namespace dstrain
