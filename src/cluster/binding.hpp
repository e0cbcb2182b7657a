// SPDX-License-Identifier: Apache-2.0
/// Which cores of its machine a rank should run on: near its GPU, or its part of them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace dstrain {

/// The key `cpu_binding`.
enum class CpuBinding {
  automatic,  ///< near the GPU; else a share of the NUMA nodes where these can be shared out evenly; else none
  none,       ///< as the launcher left it
  numa,       ///< whole NUMA nodes
  core        ///< a share of the cores
};

/// @throws ConfigError  another word than auto, none, numa, core
CpuBinding parse_cpu_binding(const std::string& text);

/// What a rank knows of itself when it is to be bound.
struct BindingRequest {
  CpuBinding binding = CpuBinding::automatic;
  int place = 0;          ///< among the ranks of the machine that may use the same cores
  int count = 1;          ///< of those ranks
  std::vector<int> near;  ///< hardware threads near this rank's GPU; empty: none is known
};

/// Hardware threads that a rank is to be bound to, and what they are.
struct BindingPlan {
  std::vector<int> cpus;
  std::string what;  ///< e.g. "NUMA node 1", "near its GPU"
};

/// An hwloc topology: of this machine, or made up by hwloc's synthetic description for tests ("numa:2 core:4 pu:2").
class MachineTopology {
 public:
  /// Local. @throws Error  hwloc cannot read the machine, or the description
  explicit MachineTopology(const std::string& synthetic = {});
  MachineTopology(const MachineTopology&) = delete;
  MachineTopology& operator=(const MachineTopology&) = delete;
  ~MachineTopology();

  /// The part of the hardware threads `allowed` for this rank; nothing where it is to stay as it is. Parts of the ranks
  /// of one machine do not overlap, except near GPUs that stand at the same place. Local.
  [[nodiscard]] std::optional<BindingPlan> plan(const std::vector<int>& allowed, const BindingRequest& request) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Hardware threads that the calling thread may use. Local.
std::vector<int> allowed_cpus();

/// Binds the calling thread, and those it will start, to `cpus`. Local; false where the system refuses.
bool bind_to(const std::vector<int>& cpus);

/// Whether binding can change anything here: more than one NUMA node, a GPU, or a wish. Cheap. Local.
bool worth_binding(const BindingRequest& request);

}  // namespace dstrain
