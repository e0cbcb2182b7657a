// SPDX-License-Identifier: Apache-2.0
/// Variables that go from the launching shell to every rank, and what a rank makes of those that `launch` sets.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cluster/environment_file.hpp"
#include "cluster/selection.hpp"
#include "comm/mca_defaults.hpp"

namespace dstrain {

/// Names that `launch` sets for the ranks it starts.
inline constexpr const char* devices_variable = "DSTRAIN_DEVICES";
inline constexpr const char* network_variable = "DSTRAIN_NETWORK";
/// The token of a meeting and where it lies: they stay with the processes that meet.
inline constexpr const char* token_variable = "DSTRAIN_TOKEN";
inline constexpr const char* token_file_variable = "DSTRAIN_TOKEN_FILE";

/// The variables every rank gets: those of `own` that are handed on (is_handed_on), then those of .deepspeed_env,
/// which win. Secrets and the names that `launch` sets itself are left out. Local.
/// @param own  "NAME=VALUE" entries, as environ has them
std::vector<EnvironmentVariable> handed_on(const std::vector<std::string>& own, const EnvironmentFile& file);

/// The devices of the host that `rank` is on, as CUDA_VISIBLE_DEVICES, for a placement written by device_list(): ranks
/// are numbered host by host, device by device. None where the list has no such rank, or where `local_rank` is not the
/// rank's place among those of its host: then the launcher placed the ranks otherwise. Local.
std::optional<std::string> visible_devices_of(const std::string& list, int rank, int local_rank);

/// In a rank that `launch` started, before MPI and CUDA look at their variables: sets CUDA_VISIBLE_DEVICES to the
/// devices of this host (DSTRAIN_DEVICES), and NCCL_SOCKET_IFNAME to this host's interface in the chosen network
/// (DSTRAIN_NETWORK) unless the user named one. Elsewhere it does nothing. Local.
/// @throws ConfigError  the launcher placed this rank elsewhere than planned
void apply_rank_environment();

}  // namespace dstrain
