// SPDX-License-Identifier: Apache-2.0
#include "train/device_setup.hpp"

#include <algorithm>
#include <map>

#include "comm/device_communicator.hpp"
#include "core/error.hpp"
#include "core/system_memory.hpp"
#include "kernels/ops/elementwise.hpp"

namespace dstrain {

namespace {

/// Ranks that have the same piece of hardware, whatever number they know it by (CUDA_VISIBLE_DEVICES).
bool any_shared(const std::vector<std::string>& places) {
  std::map<std::string, int> users;
  for (const auto& place : places) {
    if (!place.empty() && ++users[place] > 1) return true;
  }
  return false;
}

}  // namespace

DeviceChoice choose_run_device(Communicator& comm, const Topology& topology, const RunConfig& config) {
  const DeviceWish wish = config.use_cpu ? DeviceWish::cpu : parse_device_wish(config.device);
  if (wish == DeviceWish::cpu) return {};
  DeviceRuntime* runtime = device_runtime();
  int count = runtime == nullptr ? 0 : runtime->count();
  std::string why = runtime == nullptr ? "this dstrain was built without CUDA" : runtime->why_none();
  if (wish == DeviceWish::automatic) {
    std::int32_t fewest = count;
    comm.all_reduce(View(&fewest, 1, DType::i32), ReduceOp::min, Stream{}, "GPUs of every rank");
    if (fewest == 0) return {};
  }
  DeviceChoice choice;
  std::string place;
  on_all_ranks(comm, "choose a GPU", [&] {
    choice = choose_device(wish, topology.local_rank, topology.local_size, count, why, config.device_oversubscribe);
    runtime->use(choice.device.index);
    place = topology.hosts.at(static_cast<std::size_t>(topology.rank)) + "/" + runtime->identity(choice.device.index);
  });
  const bool shared = any_shared(all_gather_strings(comm, place));
  if (shared && !config.device_oversubscribe) {
    throw ConfigError("ranks of a node would share a GPU", "device",
                      "start one rank per GPU, or set device_oversubscribe: true (slow: ranks that share a GPU talk "
                      "through host memory)");
  }
  choice.shared = shared;
  return choice;
}

void fold_on_device(View out, std::span<const ConstView> sources, bool add, const Stream& stream) {
  const Exec exec{stream};
  const Data to{out.data, DType::f32};
  std::size_t next = 0;
  if (!add) {
    if (sources.empty()) return ops::fill_zero(exec, to, out.count);
    ops::convert(exec, to, ConstData(sources[0].data, sources[0].dtype), out.count);
    next = 1;
  }
  for (; next < sources.size(); ++next)
    ops::add(exec, to, ConstData(sources[next].data, sources[next].dtype), out.count);
}

std::unique_ptr<Communicator> communicator_for(std::unique_ptr<Communicator> world, const DeviceChoice& choice,
                                               double timeout_s, const std::vector<int>& node_of_rank) {
  if (choice.device.kind == DeviceKind::cpu) return world;
  return make_device_communicator(std::move(world), choice.device, choice.shared, fold_on_device, timeout_s,
                                  node_of_rank);
}

void refuse_if_gpu_too_small(const MemoryPlan& plan) {
  if (plan.target() != DeviceKind::cuda) return;
  const std::int64_t wanted = plan.arena_bytes(MemoryKind::device) + plan.arena_bytes(MemoryKind::registered);
  if (wanted == 0) return;
  const DeviceMemory memory = require_device_runtime().memory();
  if (wanted <= memory.free) return;
  throw RefusedError(fmt::format("the run needs {} of the GPU's memory, {} of {} are free", format_bytes(wanted),
                                 format_bytes(memory.free), format_bytes(memory.total)),
                     {},
                     "use more ranks, a higher zero_stage, a smaller batch or cutoff_len, or gradient checkpointing");
}

}  // namespace dstrain
