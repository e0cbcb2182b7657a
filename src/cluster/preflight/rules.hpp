// SPDX-License-Identifier: Apache-2.0
/// The rules of preflight: pure functions from the facts of all ranks to findings, so that each is tested on made-up
/// facts. What a rule says at `Severity::note` is for `dstrain doctor` alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/preflight/facts.hpp"
#include "cluster/preflight/finding.hpp"
#include "comm/launcher.hpp"

namespace dstrain {

/// What the run will do, as far as rules depend on it.
struct RunNeeds {
  bool uses_nccl = false;                ///< NCCL's own settings matter
  std::int64_t shared_memory_bytes = 0;  ///< per rank in /dev/shm; 0: unknown or none
  std::int64_t device_bytes = 0;         ///< per rank on its GPU; 0: none
  bool shares_gpus = false;              ///< device_oversubscribe
};

using Findings = std::vector<Finding>;

// rules_builds.cpp
Findings check_binaries(const JobFacts& job);   ///< one build on all ranks (error)
Findings check_libraries(const JobFacts& job);  ///< MPI, HDF5 and driver versions
Findings check_hosts(const JobFacts& job);      ///< different hosts that call themselves the same

// rules_devices.cpp
Findings check_device_per_rank(const JobFacts& job);                       ///< two ranks on one GPU (error)
Findings check_gpus(const JobFacts& job, const RunNeeds& needs);           ///< models, free memory against the plan
Findings check_threads(const JobFacts& job);                               ///< more threads than cores
Findings check_shared_memory(const JobFacts& job, const RunNeeds& needs);  ///< /dev/shm against the windows
Findings check_limits(const JobFacts& job);                                ///< open files, lockable memory
Findings check_clocks(const JobFacts& job);                                ///< more than 30 s apart

// rules_network.cpp
Findings check_interfaces(const JobFacts& job);  ///< gateways of containers, no common subnet
Findings check_chosen_interfaces(const JobFacts& job,
                                 const RunNeeds&);  ///< names that a host has not, or that are down

// rules_settings.cpp
Findings check_contradictions(const JobFacts& job, const RunNeeds& needs);  ///< settings against each other
Findings check_agreement(const JobFacts& job);                      ///< settings that must be equal on all ranks
Findings check_fabric(const JobFacts& job, const RunNeeds& needs);  ///< sockets while InfiniBand is there

/// One process where the scheduler's job has room for several: a batch script that starts dstrain without srun.
Findings check_launcher(const LauncherVariables& launcher, int world_size);

/// All rules about facts, in this order.
Findings check_all(const JobFacts& job, const RunNeeds& needs);

/// Clocks further apart than this are said.
inline constexpr double largest_clock_skew_s = 30;

// What rules share.
/// The facts of hosts: ranks with host_facts, in rank order.
std::vector<const RankFacts*> hosts_of(const JobFacts& job);
/// Subnets (IPv4) that every host has a living, own address in; container gateways left out.
std::vector<std::string> common_subnets(const JobFacts& job);
/// True where `name` is taken by a list of NCCL_SOCKET_IFNAME's form: prefixes, `=exact`, `^excluded`.
bool nccl_takes(std::string_view list, std::string_view name);
/// True where an entry of a list of Open MPI's form (names and subnets) names the interface.
bool mpi_list_names(std::string_view list, const NetworkInterface& interface);

}  // namespace dstrain
