// SPDX-License-Identifier: Apache-2.0
#include "cluster/preflight/preflight.hpp"

#include <chrono>

#include "core/error.hpp"

namespace dstrain {

JobFacts gather_job_facts(Communicator& comm, RankFacts own) {
  // The ranks leave the barrier within milliseconds of each other: enough to tell clocks that are seconds apart.
  comm.barrier("clocks");
  own.clock_s = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  JobFacts job;
  for (const auto& text : all_gather_strings(comm, to_text(own))) job.push_back(parse_facts(text));
  return job;
}

void preflight(Communicator& comm, const Topology& topology, const std::string& device, int threads,
               const RunNeeds& needs, const FactsWanted& wanted) {
  const auto job = gather_job_facts(comm, gather_facts(topology, device, threads, wanted));
  on_all_ranks(comm, "preflight", [&] {
    if (comm.rank() != 0) return;
    auto findings = check_launcher(read_launcher_variables(), topology.world_size);
    const auto rest = check_all(job, needs);
    findings.insert(findings.end(), rest.begin(), rest.end());
    report_findings(findings);
  });
}

}  // namespace dstrain
