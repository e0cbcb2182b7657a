// SPDX-License-Identifier: Apache-2.0
/// From the text of a flag or a variable to a member of LaunchRequest. Private to src/cluster/launch.
#pragma once

#include <string>
#include <string_view>

#include "cluster/launch/launch_request.hpp"

namespace dstrain {

/// A value and the words it was written in, for messages: `--nnodes`, `NNODES`, `acc.yaml:3: num_machines`.
struct Given {
  std::string value;
  std::string name;
};

/// Sets what the row `name` of launch_flags() stands for. What a stronger source has set stays. Local.
/// @throws ConfigError  the text is no such value
void set_launch_value(LaunchRequest& request, std::string_view name, const Given& given, NodesFrom from);

/// The same for rows without a value.
void set_launch_switch(LaunchRequest& request, std::string_view name);

}  // namespace dstrain
