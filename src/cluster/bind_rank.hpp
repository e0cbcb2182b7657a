// SPDX-License-Identifier: Apache-2.0
/// Binds this process as the key `cpu_binding` says.
#pragma once

#include <string>

#include "comm/topology.hpp"

namespace dstrain {

/// Binds the calling thread and those it will start, and corrects cores and threads of this rank in `topology`. Local;
/// call before the first parallel region. Where the system refuses, the rank stays as it is.
/// @param cpu_binding  auto, none, numa or core
/// @param on_gpus      the run computes on GPUs
/// @throws ConfigError  another word
void bind_rank(Topology& topology, const std::string& cpu_binding, bool on_gpus);

/// Whether a run with this `device` key computes on GPUs: this build knows CUDA and the machine has one. Local.
bool runs_on_gpus(const std::string& device);

}  // namespace dstrain
