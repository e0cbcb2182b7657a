// SPDX-License-Identifier: Apache-2.0
/// How many threads a rank gets, and whether a launcher put two ranks on one core.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace dstrain {

/// Threads of a rank and who said so.
struct ThreadChoice {
  int threads = 1;
  std::string from;
};

/// OMP_NUM_THREADS (the first of a list) where it is a number; else SLURM_CPUS_PER_TASK, at most the cores that this
/// rank may use; else `share`. Local, pure.
/// @param environment  value of a variable, or nullptr
/// @param share        this rank's share of the node's cores (threads_for)
/// @param cores        physical cores that this rank may use
ThreadChoice choose_threads(const std::function<const char*(const char*)>& environment, int share, int cores);

/// Another process of the machine that is bound to the same cores so that there is less than one core for each of
/// them; -1 where there is none. A process that may use the whole machine is not bound. Local, pure.
/// @param allowed       [process][i]: the physical cores that process may use
/// @param machine_cores physical cores of the machine
int bound_beside(const std::vector<std::vector<int>>& allowed, int process, int machine_cores);

/// Physical cores of this machine that are online: hardware threads of one core count once. Local.
int cores_of_machine();

/// Cores as a list of ranges: "0-3,8". Local, pure.
std::string ranges_text(const std::vector<int>& cores);

}  // namespace dstrain
