// SPDX-License-Identifier: Apache-2.0
#include "cluster/binding.hpp"

#include <hwloc.h>
#include <sched.h>

#include <algorithm>
#include <climits>
#include <fstream>
#include <iterator>
#include <memory>

#include "core/error.hpp"

namespace dstrain {
namespace {

struct FreeBitmap {
  void operator()(hwloc_bitmap_t bitmap) const noexcept { hwloc_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<std::remove_pointer_t<hwloc_bitmap_t>, FreeBitmap>;

Bitmap bitmap_of(const std::vector<int>& cpus) {
  Bitmap bitmap(hwloc_bitmap_alloc());
  for (const int cpu : cpus) hwloc_bitmap_set(bitmap.get(), static_cast<unsigned>(cpu));
  return bitmap;
}

std::vector<int> cpus_of(hwloc_const_bitmap_t bitmap) {
  std::vector<int> cpus;
  for (int cpu = hwloc_bitmap_first(bitmap); cpu >= 0; cpu = hwloc_bitmap_next(bitmap, cpu)) cpus.push_back(cpu);
  return cpus;
}

/// A NUMA node and those of its hardware threads that may be used.
struct NumaPart {
  unsigned number;
  std::vector<int> cpus;
};

std::vector<NumaPart> numa_parts(hwloc_topology_t topology, hwloc_const_bitmap_t allowed) {
  std::vector<NumaPart> parts;
  hwloc_obj_t node = nullptr;
  while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != nullptr) {
    Bitmap both(hwloc_bitmap_alloc());
    hwloc_bitmap_and(both.get(), node->cpuset, allowed);
    // Memory without cores (accelerators, CXL) is a NUMA node too.
    if (hwloc_bitmap_iszero(both.get()) == 0) parts.push_back({node->os_index, cpus_of(both.get())});
  }
  return parts;
}

/// This rank's NUMA nodes: one of them where ranks share nodes, several where there are more nodes than ranks.
BindingPlan share_of_nodes(const std::vector<NumaPart>& parts, int place, int count) {
  const auto nodes = static_cast<int>(parts.size());
  int first = place * nodes / count;
  int last = nodes >= count ? (place + 1) * nodes / count : first + 1;
  BindingPlan plan;
  plan.what = last - first == 1 ? "NUMA node" : "NUMA nodes";
  for (int i = first; i < last; ++i) {
    const auto& part = parts[static_cast<std::size_t>(i)];
    plan.cpus.insert(plan.cpus.end(), part.cpus.begin(), part.cpus.end());
    plan.what += fmt::format("{}{}", i == first ? " " : ",", part.number);
  }
  std::sort(plan.cpus.begin(), plan.cpus.end());
  return plan;
}

/// This rank's share of the cores, neighbours in the machine's order; nothing where there are more ranks than cores.
std::optional<BindingPlan> share_of_cores(hwloc_topology_t topology, hwloc_const_bitmap_t allowed, int place,
                                          int count) {
  std::vector<std::vector<int>> cores;
  hwloc_obj_t core = nullptr;
  while ((core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core)) != nullptr) {
    Bitmap both(hwloc_bitmap_alloc());
    hwloc_bitmap_and(both.get(), core->cpuset, allowed);
    if (hwloc_bitmap_iszero(both.get()) == 0) cores.push_back(cpus_of(both.get()));
  }
  const auto n = static_cast<int>(cores.size());
  if (n < count) return std::nullopt;
  const int first = place * n / count, last = (place + 1) * n / count;
  BindingPlan plan;
  plan.what = fmt::format("{} of {} cores", last - first, n);
  for (int i = first; i < last; ++i) {
    const auto& cpus = cores[static_cast<std::size_t>(i)];
    plan.cpus.insert(plan.cpus.end(), cpus.begin(), cpus.end());
  }
  std::sort(plan.cpus.begin(), plan.cpus.end());
  return plan;
}

std::optional<BindingPlan> near_gpu(const std::vector<int>& allowed, const std::vector<int>& near) {
  BindingPlan plan{.cpus = {}, .what = "near its GPU"};
  std::set_intersection(allowed.begin(), allowed.end(), near.begin(), near.end(), std::back_inserter(plan.cpus));
  if (plan.cpus.empty() || plan.cpus.size() == allowed.size()) return std::nullopt;
  return plan;
}

}  // namespace

struct MachineTopology::Impl {
  hwloc_topology_t topology = nullptr;
  ~Impl() {
    if (topology != nullptr) hwloc_topology_destroy(topology);
  }
};

CpuBinding parse_cpu_binding(const std::string& text) {
  if (text == "auto") return CpuBinding::automatic;
  if (text == "none") return CpuBinding::none;
  if (text == "numa") return CpuBinding::numa;
  if (text == "core") return CpuBinding::core;
  throw ConfigError(fmt::format("cpu_binding is \"{}\"; use auto, none, numa or core", text));
}

MachineTopology::MachineTopology(const std::string& synthetic) : impl_(std::make_unique<Impl>()) {
  const bool good = hwloc_topology_init(&impl_->topology) == 0 &&
                    (synthetic.empty() || hwloc_topology_set_synthetic(impl_->topology, synthetic.c_str()) == 0) &&
                    hwloc_topology_load(impl_->topology) == 0;
  if (!good) throw Error("hwloc cannot read this machine's cores", {}, "cpu_binding: none goes without");
}

MachineTopology::~MachineTopology() = default;

std::optional<BindingPlan> MachineTopology::plan(const std::vector<int>& allowed, const BindingRequest& r) const {
  DSTRAIN_CHECK(r.place >= 0 && r.place < r.count, "place {} of {}", r.place, r.count);
  if (r.binding == CpuBinding::none || allowed.empty()) return std::nullopt;
  const Bitmap set = bitmap_of(allowed);
  if (r.binding == CpuBinding::core) return share_of_cores(impl_->topology, set.get(), r.place, r.count);
  if (r.binding == CpuBinding::automatic && !r.near.empty()) return near_gpu(allowed, r.near);
  const auto parts = numa_parts(impl_->topology, set.get());
  const auto nodes = static_cast<int>(parts.size());
  if (nodes < 2 || r.count < 2) return std::nullopt;  // one rank uses them all
  const bool even = nodes % r.count == 0 || r.count % nodes == 0;
  if (r.binding == CpuBinding::automatic && !even) return std::nullopt;
  return share_of_nodes(parts, r.place, r.count);
}

std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

bool bind_to(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) {
    if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET(cpu, &set);
  }
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

bool worth_binding(const BindingRequest& request) {
  if (request.binding == CpuBinding::none) return false;
  if (request.binding == CpuBinding::core || !request.near.empty()) return true;
  std::ifstream file("/sys/devices/system/node/has_cpu");  // "0-1"; "0" on a machine with one
  std::string nodes;
  return request.count > 1 && file >> nodes && nodes.find_first_of("-,") != std::string::npos;
}

}  // namespace dstrain
