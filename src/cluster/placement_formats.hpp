// SPDX-License-Identifier: Apache-2.0
/// A placement in the words of each launcher.
#pragma once

#include <string>

#include "cluster/selection.hpp"

namespace dstrain {

enum class LauncherFormat {
  openmpi,   ///< a hostfile: host slots=N
  rankfile,  ///< Open MPI: rank N=host slot=I
  slurm,     ///< a SLURM_HOSTFILE for --distribution=arbitrary: one line per rank
  hydra,     ///< MPICH and Intel MPI: host:N
  json
};

/// @throws ConfigError  naming the formats
LauncherFormat parse_launcher_format(const std::string& name);

/// The text of the file, comments with the launcher's flags first where its format has comments. Local.
///
/// Device lists that are not 0 .. N-1 cannot be told to a launcher: they are in the json, and each rank takes its own
/// from DSTRAIN_DEVICES (`launch` sets it).
std::string format_placement(const Placement& placement, LauncherFormat format);

/// The devices of all hosts as one word, `worker-0:0,2@worker-1:0,1`: DeepSpeed's --include. Local.
std::string device_list(const Placement& placement);

/// The device that rank `local_rank` of host `host` takes; -1 where the list has no such host or rank. Local.
int device_of(const std::string& list, const std::string& host, int local_rank);

}  // namespace dstrain
