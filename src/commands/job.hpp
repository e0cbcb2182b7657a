// SPDX-License-Identifier: Apache-2.0
/// What `train` and `eval` share: MPI, the configuration on all ranks, the run.
#pragma once

#include "commands/commands.hpp"

namespace dstrain::commands {

/// Reads the configuration on rank 0, hands it to the others and does what it says. Starts and ends MPI (spmd_main).
ExitCode run_job(const Words& words);

}  // namespace dstrain::commands
