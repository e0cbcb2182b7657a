// SPDX-License-Identifier: Apache-2.0
/// Which cores stand near which GPU, as the driver and the kernel tell without starting CUDA.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace dstrain {

/// One NVIDIA GPU of this machine.
struct GpuPlace {
  std::string pci;   ///< "0000:3b:00.0", in lower case
  std::string uuid;  ///< "GPU-..."
};

/// The GPUs in the order of their PCI addresses, which is CUDA's own where all are of one kind. Local.
/// @param root  of the file system, for tests
std::vector<GpuPlace> gpus_of_machine(const std::filesystem::path& root = "/");

/// The GPU that the process with this local rank computes on: the local_rank-th of those that CUDA_VISIBLE_DEVICES
/// leaves (numbers, or beginnings of UUIDs; the list ends at the first that does not exist, as in CUDA), the only one
/// where one is left. Local, pure.
std::optional<GpuPlace> gpu_of_rank(const std::vector<GpuPlace>& gpus, const std::optional<std::string>& visible,
                                    int local_rank);

/// Hardware threads near a GPU; empty where the kernel does not say. Local.
std::vector<int> cpus_near(const GpuPlace& gpu, const std::filesystem::path& root = "/");

/// A kernel's list of numbers, "0-3,8": ascending; empty where it is none. Local, pure.
std::vector<int> parse_cpu_list(const std::string& text);

}  // namespace dstrain
