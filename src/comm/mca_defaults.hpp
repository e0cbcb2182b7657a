// SPDX-License-Identifier: Apache-2.0
/// Sparing Open MPI the search for network cards that are not there.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dstrain {

/// Reads an environment variable; null where it is not set. (A parameter, so that tests need not change their own.)
using Environment = std::function<const char*(const char*)>;

/// True where the launcher's variables say that all ranks are on this host, or that there is no launcher. Local.
bool runs_on_one_host(const Environment& environment);

/// "name = value" lines of an openmpi-mca-params.conf; comments and anything else are left out. Local.
std::vector<std::pair<std::string, std::string>> parse_mca_params(std::string_view text);

/// True where a user's `value` for a component list leaves `ours` (a list of names) selectable: a list of exclusions
/// ("^ucx,ofi") that names none of them. A list of inclusions is a choice, and the user's choice wins. Local.
bool allows(std::string_view value, std::string_view ours);

/// "name = value" pairs of Open MPI's parameter files, the system's first, then the user's. Local.
std::vector<std::pair<std::string, std::string>> read_mca_params();

/// What this host is like.
struct HostFacts {
  bool has_fabric = true;  ///< InfiniBand, Omni-Path, Slingshot ...: then several hosts are left to Open MPI's choice
  int cores = 0;           ///< that this process may use; 0: not known
};

/// Variables worth setting before MPI_Init: those that nobody has set in the environment and no file decides against.
///
/// On one host, and on several where this one has no fabric: shared memory and TCP, nothing else is looked for. Hosts
/// of which some have a fabric and some have none could not talk over it anyway. Where a host has more ranks than
/// cores, waiting ranks give way.
/// @param params  what the user's and the system's parameter files set
std::vector<std::pair<std::string, std::string>> mca_defaults(
    const Environment& environment, const std::vector<std::pair<std::string, std::string>>& params,
    const HostFacts& facts = {});

/// Does all of the above for this process. Must run before MPI_Init and before any thread is started.
void set_mca_defaults();

}  // namespace dstrain
