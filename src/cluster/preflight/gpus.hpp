// SPDX-License-Identifier: Apache-2.0
/// The GPUs of this host as NVIDIA's management library shows them, loaded at run time: a build without CUDA sees them
/// too.
#pragma once

#include <string>
#include <vector>

#include "cluster/preflight/facts.hpp"

namespace dstrain {

struct GpuList {
  std::vector<GpuFacts> devices;  ///< in PCI order, whatever CUDA_VISIBLE_DEVICES says
  std::string driver;             ///< 570.86.15; empty: no driver
};

/// Local; an empty list where there is no driver. At most 64 devices.
GpuList list_gpus();

}  // namespace dstrain
