// SPDX-License-Identifier: Apache-2.0
/// The training run: setup, loop over steps, logs, checkpoints, results.
#pragma once

#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/topology.hpp"
#include "config/run_config.hpp"
#include "core/device.hpp"
#include "core/error.hpp"

namespace dstrain {

/// What a run gets from the command that starts it.
struct TrainContext {
  Communicator& comm;
  const Topology& topology;
  const RunConfig& config;         ///< equal on all ranks
  std::string resolved_yaml;       ///< rank 0: written to output_dir/resolved_config.yaml
  std::vector<std::string> notes;  ///< rank 0: said once in the start-up report
  Device device = {};              ///< of this rank
};

/// Trains as `config` says and leaves everything in output_dir.
///
/// Collective. @return good, or stopped_on_signal after a checkpoint on SIGTERM, SIGUSR1 or SIGINT
/// @throws ConfigError, IoError, RefusedError before the first step (on all ranks); Error when the run breaks
ExitCode train(const TrainContext& context);

}  // namespace dstrain
