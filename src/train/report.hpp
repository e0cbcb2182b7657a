// SPDX-License-Identifier: Apache-2.0
/// The start-up report: who runs what with how much, and where each number came from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/topology.hpp"
#include "config/run_config.hpp"
#include "dstrain/engine.hpp"
#include "model/layout.hpp"
#include "train/run_setup.hpp"

namespace dstrain {

struct StartReport {
  const RunConfig& config;
  const Topology& topology;
  const RunSetup& setup;
  const EngineOptions& options;
  const ModelLayout& layout;
  std::int64_t planned_bytes = 0;
  std::int64_t total_steps = 0;
  std::int64_t steps_per_epoch = 0;
  std::int64_t warmup_steps = 0;
  double matrix_peak = 0.0;  ///< FLOP/s of all ranks together
};

/// Some lines of text. Local.
std::string start_report(const StartReport& report);

/// Refuses a run whose plan does not fit this node, with what would make it fit.
/// @param available  bytes the node can still give
/// @throws RefusedError
void refuse_if_too_large(const EngineOptions& options, const ModelSpec& spec, int ranks, int ranks_on_node,
                         std::int64_t planned_bytes, std::int64_t available);

}  // namespace dstrain
