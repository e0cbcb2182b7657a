// SPDX-License-Identifier: Apache-2.0
/// What preflight can only say once the plan of the run is known.
#pragma once

#include <cstdint>

#include "cluster/preflight/preflight.hpp"
#include "config/run_config.hpp"
#include "core/memory_plan.hpp"
#include "model/adapters/tuning.hpp"
#include "train/run_setup.hpp"

namespace dstrain {

/// Elements of the tensors that a run changes, adapters among them. Local, pure.
std::int64_t trained_parameters(const ModelSpec& spec, const Tuning& tuning);

/// Bytes of one checkpoint of all ranks together: trained parameters in f32, and the optimizer's states unless
/// `save_only_model`. From the plan of one rank; metadata (kilobytes) is left out. Pure.
std::int64_t checkpoint_bytes(const MemoryPlan& plan, std::int64_t trained_parameters, int zero_stage, int ranks,
                              bool save_only_model);

/// Whether every host sees output_dir and whether a checkpoint has room there. Nothing is asked of runs that write
/// none. Collective. @throws RefusedError  on all ranks
void check_output_dir(Communicator& comm, const Topology& topology, const RunConfig& config, const MemoryPlan& plan,
                      std::int64_t trained_parameters);

}  // namespace dstrain
