// SPDX-License-Identifier: Apache-2.0
/// Ending the launcher where it would wait for a host that is gone.
#pragma once

namespace dstrain {

/// Asks mpirun to end at once, where this process is its child; else does nothing. Local.
///
/// MPI_Abort makes mpirun tell all hosts to end their ranks, and wait for their answers. Bytes that are under way to a
/// host whose link was cut keep its keepalive probes from being sent, so that it waits until TCP gives up: a quarter of
/// an hour. The first SIGTERM asks it to end in order, the second one to end without waiting.
void stop_launcher() noexcept;

}  // namespace dstrain
