// SPDX-License-Identifier: Apache-2.0
#include "cluster/bind_rank.hpp"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "cluster/binding.hpp"
#include "cluster/gpu_locality.hpp"

namespace dstrain {

bool runs_on_gpus([[maybe_unused]] const std::string& device) {
#ifdef DSTRAIN_WITH_CUDA
  return device == "cuda" || (device == "auto" && !gpus_of_machine().empty());
#else
  return false;
#endif
}

void bind_rank(Topology& topology, const std::string& cpu_binding, bool on_gpus) {
  BindingRequest request{.binding = parse_cpu_binding(cpu_binding),
                         .place = topology.among_bound_alike,
                         .count = topology.bound_alike,
                         .near = {}};
  if (on_gpus && request.binding == CpuBinding::automatic) {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    const auto gpu = gpu_of_rank(gpus_of_machine(), visible ? std::optional<std::string>(visible) : std::nullopt,
                                 topology.local_rank);
    if (gpu) request.near = cpus_near(*gpu);
  }
  if (!worth_binding(request)) return;
  const auto plan = MachineTopology().plan(allowed_cpus(), request);
  if (!plan || !bind_to(plan->cpus)) return;
  topology.bound_to = plan->what;
  topology.cores = allowed_cores();
  topology.default_threads = std::min(topology.default_threads, std::max(1, static_cast<int>(topology.cores.size())));
}

}  // namespace dstrain
