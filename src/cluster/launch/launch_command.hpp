// SPDX-License-Identifier: Apache-2.0
/// From what a user asks and what is there to the command that starts the ranks.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cluster/launch/launch_request.hpp"
#include "cluster/launch/surroundings.hpp"
#include "cluster/selection.hpp"

namespace dstrain {

/// Who starts the ranks.
enum class LaunchWay {
  local,         ///< mpirun on this machine
  ssh,           ///< mpirun, over ssh
  srun,          ///< srun --mpi=pmix in the allocation
  slurm_mpirun,  ///< mpirun, by Slurm, in the allocation
  meeting        ///< the same command on every node; mpirun on the first of them
};

/// What will be run, and what it gets beside the environment of this process.
struct LaunchCommand {
  std::vector<std::string> words;
  std::vector<EnvironmentVariable> variables = {};  ///< set for it
  std::vector<std::string> notes = {};              ///< choices to print
  std::string slurm_hostfile = {};  ///< text of the file that SLURM_HOSTFILE is to name; empty: none needed
};

/// Local. @throws ConfigError  flags that contradict each other or the surroundings
LaunchWay choose_way(const LaunchRequest& request, const Surroundings& here);

/// The hosts and devices of a run by any way but the meeting. Local.
/// @throws ConfigError, IoError  as read_hostfile, select_devices
Placement place_ranks(const LaunchRequest& request, const Surroundings& here, LaunchWay way);

/// This machine's part of a meeting: how many ranks, and on which devices. Local. @throws ConfigError
HostDevices place_own_ranks(const LaunchRequest& request, const Surroundings& here);

/// The network of a run on several hosts; none on one host, where the user decided otherwise (a parameter of Open MPI
/// that names interfaces) and where there is no common one.
/// @param[out] notes  the choice, in words
std::optional<Subnet> choose_network(const LaunchRequest& request, const Surroundings& here,
                                     const std::vector<HostAddresses>& hosts, std::vector<std::string>& notes);

/// The addresses of the hosts of a placement, this machine's own ones for itself. Local; asks the resolver.
std::vector<HostAddresses> addresses_of_hosts(const Surroundings& here, const Placement& placement);

/// @param agent  what mpirun starts its daemons with in place of ssh (meeting); empty otherwise
/// @throws ConfigError  hosts that mpirun cannot name
LaunchCommand mpirun_command(const LaunchRequest& request, const Surroundings& here, LaunchWay way,
                             const Placement& placement, const std::optional<Subnet>& network,
                             const std::string& agent = {});

LaunchCommand srun_command(const LaunchRequest& request, const Surroundings& here, const Placement& placement);

/// The command as a person would type it: quoted for a shell, variables in front. Local.
std::string shown(const LaunchCommand& command);

}  // namespace dstrain
