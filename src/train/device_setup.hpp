// SPDX-License-Identifier: Apache-2.0
/// Which device each rank trains on, and the communicator that goes with it.
#pragma once

#include <memory>

#include "comm/communicator.hpp"
#include "comm/topology.hpp"
#include "config/run_config.hpp"
#include "core/device_runtime.hpp"
#include "core/memory_plan.hpp"

namespace dstrain {

/// The device that `device:`, `use_cpu:` and `device_oversubscribe:` give this rank; it is in use afterwards. Ranks
/// agree on the kind: a machine of the job without a GPU sends all to the CPU (auto), or is refused (cuda).
///
/// Collective. @throws ConfigError on all ranks
DeviceChoice choose_run_device(Communicator& comm, const Topology& topology, const RunConfig& config);

/// `world` itself for the CPU; else with collectives between GPUs beside those of the host. Collective.
/// @param node_of_rank  ranks with equal labels share a node; empty: all do
std::unique_ptr<Communicator> communicator_for(std::unique_ptr<Communicator> world, const DeviceChoice& choice,
                                               double timeout_s, const std::vector<int>& node_of_rank = {});

/// Sums on a GPU, made of the operations that every backend has: what DeviceCommunicator asks for.
void fold_on_device(View out, std::span<const ConstView> sources, bool add, const Stream& stream);

/// @throws RefusedError  the GPU in use has less free memory than the plan asks of it. Local.
void refuse_if_gpu_too_small(const MemoryPlan& plan);

}  // namespace dstrain
