// SPDX-License-Identifier: Apache-2.0
/// The first messages of a job: every rank is heard, runs the same build and reaches its neighbours, or the job ends.
#pragma once

namespace dstrain {

/// Seconds that ranks may take to answer once MPI has started all of them: DSTRAIN_START_TIMEOUT, else 15. Local.
/// @throws ConfigError  the variable is no number from 1 to 86400
double start_timeout_s();

/// Collective over all ranks of the job, right after MPI_Init and before any collective.
///
/// MPI connects when something is sent first, and waits for ever where a network does not answer. So each rank greets
/// rank 0, then exchanges a few messages with the ranks at distances 1, 2, 4, ...; all with deadlines. The messages are
/// several, because Open MPI deals them out among the interfaces of a host, and one of these may be dead.
/// What is missing is named by rank 0 from what the launcher's own channel and TCP probes tell. Takes well below a
/// millisecond per rank where all is well.
/// @throws RefusedError  on rank 0, which must end the job at once: others are still waiting
void meet_all_ranks(double timeout_s);

}  // namespace dstrain
