// SPDX-License-Identifier: Apache-2.0
/// Which way, and which hosts and devices.
#include <fmt/core.h>

#include <algorithm>
#include <charconv>

#include "cluster/hostfile.hpp"
#include "cluster/launch/launch_command.hpp"
#include "core/error.hpp"

namespace dstrain {
namespace {

const char* value_of(const Surroundings& here, const char* name) {
  const char* value = here.environment(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

bool in_allocation(const Surroundings& here) {
  return value_of(here, "SLURM_JOB_ID") != nullptr && value_of(here, "SLURM_JOB_NODELIST") != nullptr;
}

bool has_pmix(const std::string& list) { return list.find("pmix") != std::string::npos; }

/// Each task of a step is a node's launcher: `srun torchrun ...` and its like.
bool in_step(const Surroundings& here) {
  const char* step = value_of(here, "SLURM_STEP_ID");
  return step != nullptr && *step >= '0' && *step <= '9';
}

/// "8(x2),4": Slurm's numbers per node.
std::vector<int> numbers_per_node(std::string_view text) {
  std::vector<int> numbers;
  while (!text.empty() && numbers.size() < 100000) {
    const auto comma = std::min(text.find(','), text.size());
    const std::string_view part = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    int number = 0, times = 1;
    const auto [stopped, error] = std::from_chars(part.data(), part.data() + part.size(), number);
    if (error != std::errc()) return {};
    const auto bracket = part.find("(x");
    if (bracket != std::string_view::npos) std::from_chars(part.data() + bracket + 2, part.data() + part.size(), times);
    numbers.insert(numbers.end(), static_cast<std::size_t>(std::clamp(times, 1, 100000)), number);
    (void)stopped;
  }
  return numbers;
}

/// The allocation as a hostfile would say it: tasks per node where tasks were asked for, else GPUs, else 1.
std::vector<Host> slurm_hosts(const Surroundings& here) {
  const auto names = here.slurm_names(value_of(here, "SLURM_JOB_NODELIST"));
  if (names.empty()) {
    throw ConfigError("the nodes of this allocation cannot be told", "scontrol show hostnames",
                      "is scontrol on PATH? A --hostfile does without it");
  }
  std::vector<int> slots;
  if (value_of(here, "SLURM_NTASKS") != nullptr || value_of(here, "SLURM_NTASKS_PER_NODE") != nullptr) {
    if (const char* tasks = value_of(here, "SLURM_TASKS_PER_NODE")) slots = numbers_per_node(tasks);
  }
  if (slots.empty()) {
    if (const char* gpus = value_of(here, "SLURM_GPUS_ON_NODE")) slots = numbers_per_node(gpus);
  }
  std::vector<Host> hosts;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const int count = slots.empty() ? 1 : slots[std::min(i, slots.size() - 1)];
    hosts.push_back({names[i], std::max(count, 1), 0});
  }
  return hosts;
}

/// The first `ranks` of a placement.
Placement first_ranks(const Placement& placement, int ranks) {
  if (const int there = rank_count(placement); ranks > there) {
    throw ConfigError(fmt::format("{} ranks are asked for, the hosts have {} slots", ranks, there), "launch",
                      "give the hosts more slots=, or ask for fewer ranks");
  }
  Placement first;
  for (const auto& host : placement) {
    const auto taken = std::min<std::size_t>(host.devices.size(), static_cast<std::size_t>(ranks));
    if (taken == 0) break;
    first.push_back({host.name, {host.devices.begin(), host.devices.begin() + static_cast<std::ptrdiff_t>(taken)}});
    ranks -= static_cast<int>(taken);
  }
  return first;
}

/// accelerate's num_processes counts all machines together.
int per_node(int total, int nodes) {
  if (total % nodes != 0) {
    throw ConfigError(fmt::format("{} ranks cannot be shared out evenly among {} nodes", total, nodes), "launch",
                      "num_processes counts the ranks of all machines together");
  }
  return total / nodes;
}

Placement place_on_hosts(const LaunchRequest& request, const std::vector<Host>& hosts) {
  SelectionFlags flags = request.selection;
  const bool counted_by_node = request.nodes && *request.nodes > 1;
  if (counted_by_node && flags.include.empty() && flags.exclude.empty()) {
    if (!flags.num_nodes) flags.num_nodes = request.nodes;
    if (request.total_ranks && !flags.num_gpus) flags.num_gpus = per_node(*request.total_ranks, *request.nodes);
  }
  Placement placement = select_devices(hosts, flags);
  if (request.total_ranks && *request.total_ranks != rank_count(placement))
    placement = first_ranks(placement, *request.total_ranks);
  return placement;
}

int slots_here(const LaunchRequest& request, const Surroundings& here) {
  if (request.per_node_by_cores) return here.cores;
  return std::max(here.devices, 1);
}

std::optional<std::string> visible_here(const LaunchRequest& request, const Surroundings& here) {
  if (!request.gpu_ids.empty()) return request.gpu_ids;
  const char* visible = value_of(here, "CUDA_VISIBLE_DEVICES");
  return visible != nullptr ? std::optional<std::string>(visible) : std::nullopt;
}

}  // namespace

LaunchWay choose_way(const LaunchRequest& request, const Surroundings& here) {
  const int nodes = request.nodes.value_or(1);
  const bool counted = request.selection.num_nodes && request.node_rank && !request.hostfile;
  if (request.no_ssh || (counted && *request.selection.num_nodes > 1)) return LaunchWay::meeting;
  if (nodes > 1 && !request.hostfile && request.launcher != "slurm") {
    // A script in an allocation may export NNODES for other programs: the allocation knows better, but a flag or a
    // step of one task per node says that this is one node's launcher.
    const bool meant = request.nodes_from == NodesFrom::flag || in_step(here) || !in_allocation(here);
    if (meant && (request.launcher.empty() || request.launcher == "standard" || !here.has_default_hostfile))
      return LaunchWay::meeting;
  }
  if (request.hostfile && !(request.launcher == "slurm" && in_allocation(here))) return LaunchWay::ssh;
  if (in_allocation(here) || request.launcher == "slurm") {
    if (!in_allocation(here)) {
      throw ConfigError("--launcher slurm outside of an allocation", "launch",
                        "start it in a job: sbatch, or salloc first");
    }
    const bool choice = request.launcher.empty() || request.launcher == "slurm";
    return choice && has_pmix(here.srun_mpi_list()) ? LaunchWay::srun : LaunchWay::slurm_mpirun;
  }
  if (here.has_default_hostfile) return LaunchWay::ssh;
  if (request.selection.num_nodes.value_or(1) > 1) {
    throw ConfigError(fmt::format("--num_nodes {} without a hostfile", *request.selection.num_nodes), "launch",
                      fmt::format("give --hostfile or put one at {}; without ssh: the same command on every node, with "
                                  "--node_rank and --master_addr",
                                  default_hostfile));
  }
  return LaunchWay::local;
}

Placement place_ranks(const LaunchRequest& request, const Surroundings& here, LaunchWay way) {
  if (way == LaunchWay::srun || way == LaunchWay::slurm_mpirun) return place_on_hosts(request, slurm_hosts(here));
  if (way == LaunchWay::ssh) {
    const auto file =
        read_hostfile(request.hostfile ? std::optional<std::filesystem::path>(*request.hostfile) : std::nullopt);
    return place_on_hosts(request, file->hosts);  // choose_way has seen that there is one
  }
  return {place_own_ranks(request, here)};
}

HostDevices place_own_ranks(const LaunchRequest& request, const Surroundings& here) {
  SelectionFlags flags = request.selection;
  flags.num_nodes.reset();
  const bool filtered = !flags.include.empty() || !flags.exclude.empty();
  if (request.total_ranks && !flags.num_gpus && !filtered)
    flags.num_gpus = per_node(*request.total_ranks, request.nodes.value_or(1));
  int slots = slots_here(request, here);
  if (filtered && request.total_ranks) slots = std::max(slots, *request.total_ranks);
  return select_local(flags, visible_here(request, here), slots).front();
}

}  // namespace dstrain
