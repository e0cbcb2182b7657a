// SPDX-License-Identifier: Apache-2.0
/// Which ranks run on which hosts, and how many threads each should use.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dstrain {

/// The placement of the job. The same on all ranks but for the members that say "this rank".
struct Topology {
  int rank = 0;  ///< this rank
  int world_size = 1;
  int node_count = 1;
  int node = 0;        ///< of this rank; nodes are numbered in the order of their lowest rank
  int local_rank = 0;  ///< this rank among those of its node
  int local_size = 1;  ///< ranks on this rank's node
  std::vector<int> node_of_rank;
  std::vector<std::string> hosts;  ///< of every rank
  int default_threads = 1;         ///< for this rank (choose_threads)
  std::string threads_from;        ///< who said so
  std::vector<int> cores;          ///< physical cores this rank may use
  std::string bound_to;            ///< what those are, where this program bound the rank (cluster/bind_rank.hpp)
  int cores_of_node = 1;           ///< of this rank's machine
  int cores_of_launcher = 0;       ///< that the process which started this one may use; 0: unknown
  int bound_alike = 1;             ///< ranks of this node that may use the same cores as this one, itself included
  int among_bound_alike = 0;       ///< this rank's place among them
  std::vector<int> bound_with;     ///< [rank] another rank bound to the same cores, too many for them; -1: none
};

/// Asks MPI and the system. Collective over all ranks of the job; MPI must be initialized. @throws CommError
Topology discover_topology();

/// Cores that one of several processes on a machine should use: each core it may run on, divided among those that may
/// run on it too; at least 1, at most `quota` / processes where a container limits the CPU time. Pure arithmetic.
/// @param allowed  [process][i] = number of a physical core that process may use (no doubles inside a process)
/// @param quota    cores' worth of CPU time of all processes together; <= 0: no limit
int threads_for(const std::vector<std::vector<int>>& allowed, int process, double quota);

/// The physical cores a process (0: this one) may run on: hardware threads of one core count once. Local.
std::vector<int> allowed_cores(int process = 0);

/// Cores' worth of CPU time a cgroup (v1 or v2) grants this process; 0 where there is no limit. Local.
double cpu_quota();

}  // namespace dstrain
