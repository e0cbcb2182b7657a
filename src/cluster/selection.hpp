// SPDX-License-Identifier: Apache-2.0
/// Which hosts and which of their devices a run takes: DeepSpeed's --include, --exclude, --num_nodes and --num_gpus.
///
/// As its documentation says, which its code (0.15.3 to 0.16) departs from: a host included without slots gets all of
/// them, and slots beyond a host's count are refused.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cluster/hostfile.hpp"

namespace dstrain {

/// The flags, as given.
struct SelectionFlags {
  std::string include = {};  ///< NAME[:SLOT[,SLOT...]] joined by @
  std::string exclude = {};
  std::optional<int> num_nodes = {};  ///< the first N hosts
  std::optional<int> num_gpus = {};   ///< devices 0 .. N-1 of each host
};

/// A host and the devices of it that get a rank each, ascending.
struct HostDevices {
  std::string name;
  std::vector<int> devices;

  friend bool operator==(const HostDevices&, const HostDevices&) = default;
};

/// The hosts of a run in the hostfile's order; ranks are numbered host by host, device by device.
using Placement = std::vector<HostDevices>;

/// Local. @throws ConfigError  flags that exclude each other, a host that is not in the file, a slot it has not, or
/// nothing left; names the flag and the nearest host
Placement select_devices(const std::vector<Host>& hosts, const SelectionFlags& flags);

/// The placement where no hostfile is: this machine alone. `visible` is CUDA_VISIBLE_DEVICES where set: its numbers
/// are the devices. Local.
/// @param local_slots  ranks where nothing says how many: devices of this machine, or 1
/// @throws ConfigError  --num_nodes above 1, more --num_gpus than there are
Placement select_local(const SelectionFlags& flags, const std::optional<std::string>& visible, int local_slots);

int rank_count(const Placement& placement) noexcept;

}  // namespace dstrain
