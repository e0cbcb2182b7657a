// SPDX-License-Identifier: Apache-2.0
/// The checks at the start of a run: cheap, collective, and silent where nothing is wrong.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "cluster/preflight/rules.hpp"
#include "comm/communicator.hpp"

namespace dstrain {

/// The facts of all ranks on all ranks, with the clocks of one moment. Collective: one gather and one barrier.
JobFacts gather_job_facts(Communicator& comm, RankFacts own);

/// Looks at all ranks, warns in the log of rank 0, and refuses what cannot work.
///
/// Collective; what one rank knows is sent once. @param device  as RankFacts::device
/// @throws RefusedError  on all ranks (AgreedError)
void preflight(Communicator& comm, const Topology& topology, const std::string& device, int threads,
               const RunNeeds& needs, const FactsWanted& wanted = {});

/// A folder that checkpoints go to.
struct OutputNeeds {
  std::filesystem::path folder;
  std::int64_t bytes = 0;          ///< of one checkpoint; 0: unknown
  bool every_host_writes = false;  ///< false: only rank 0 does
};

/// Looks whether every host sees rank 0's folder, by a file with a random name that lives for this call, and whether a
/// checkpoint has room there. Collective; all findings are on rank 0. The folder must exist on rank 0's host.
Findings check_output(Communicator& comm, const Topology& topology, const OutputNeeds& needs);

}  // namespace dstrain
