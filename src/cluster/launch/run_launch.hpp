// SPDX-License-Identifier: Apache-2.0
/// `dstrain launch` from a request to the job's exit code.
#pragma once

#include <string>

#include "cluster/launch/launch_request.hpp"
#include "cluster/launch/surroundings.hpp"

namespace dstrain {

/// Prints the command, then runs it (not where request.dry_run) and waits for its end. Signals that ask for an end are
/// handed on as a request for a checkpoint first. Local.
/// @param version  of this binary: nodes that meet must have the same
/// @return the job's exit code
/// @throws ConfigError, IoError, RefusedError  it cannot be started
int run_launch(const LaunchRequest& request, const Surroundings& here, const std::string& version);

}  // namespace dstrain
