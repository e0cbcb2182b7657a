// SPDX-License-Identifier: Apache-2.0
/// Rules about what a host gives its ranks: devices, cores, memory, limits, time.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "cluster/preflight/rules.hpp"
#include "core/system_memory.hpp"

namespace dstrain {
namespace {

constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();

std::map<int, std::vector<const RankFacts*>> ranks_by_node(const JobFacts& job) {
  std::map<int, std::vector<const RankFacts*>> nodes;
  for (const auto& rank : job) nodes[rank.node].push_back(&rank);
  return nodes;
}

bool on_gpu(const RankFacts& rank) { return !rank.device.empty() && rank.device != "cpu"; }

/// "7.5 h", "42 s"
std::string duration(double seconds) {
  if (seconds >= 2 * 3600) return fmt::format("{:.1f} h", seconds / 3600);
  if (seconds >= 120) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.0f} s", seconds);
}

}  // namespace

Findings check_device_per_rank(const JobFacts& job) {
  Findings findings;
  for (const auto& [node, ranks] : ranks_by_node(job)) {
    std::map<std::string, std::vector<std::string>> users;
    for (const auto* rank : ranks) {
      if (on_gpu(*rank)) users[rank->device].push_back(rank->tag());
    }
    for (const auto& [device, tags] : users) {
      if (tags.size() < 2) continue;
      findings.push_back(
          {Severity::error, "two-ranks-one-gpu", fmt::format("{} ranks share {}", tags.size(), device),
           list_names(tags),
           "start one rank per GPU (slots=N in the hostfile, --ntasks-per-node), and let the launcher or "
           "dstrain choose the device: no CUDA_VISIBLE_DEVICES that names the same one for all"});
    }
  }
  return findings;
}

Findings check_gpus(const JobFacts& job, const RunNeeds& needs) {
  Findings findings;
  std::map<std::string, std::vector<std::string>> models;
  for (const auto* host : hosts_of(job)) {
    std::set<std::string> here;
    for (const auto& gpu : host->host_facts->gpus) here.insert(gpu.model);
    for (const auto& model : here) models[model].push_back(host->host);
  }
  if (models.size() > 1) {
    std::string where;
    for (const auto& [model, hosts] : models)
      where += fmt::format("{}{} on {}", where.empty() ? "" : "; ", model, list_names(hosts));
    findings.push_back({Severity::warning, "gpu-models", "the hosts have different GPUs: all wait for the slowest",
                        where, "take hosts of one kind (--include, a Slurm constraint)"});
  }
  if (needs.device_bytes <= 0) return findings;
  for (const auto& [node, ranks] : ranks_by_node(job)) {
    const auto* first = ranks.front();
    if (!first->host_facts) continue;
    for (const auto* rank : ranks) {
      for (const auto& gpu : first->host_facts->gpus) {
        if (gpu.uuid != rank->device || gpu.free_bytes >= needs.device_bytes) continue;
        findings.push_back(
            {Severity::error, "gpu-memory",
             fmt::format("the plan needs {} on each GPU, {} of {} are free on {}", format_bytes(needs.device_bytes),
                         format_bytes(gpu.free_bytes), format_bytes(gpu.total_bytes), gpu.model),
             rank->tag(), "end what else runs there (nvidia-smi), or see `dstrain plan`"});
      }
    }
  }
  return findings;
}

Findings check_threads(const JobFacts& job) {
  Findings findings;
  std::vector<std::string> crowded;
  std::size_t most_threads = 0, its_cores = 0;
  for (const auto& [node, ranks] : ranks_by_node(job)) {
    std::set<int> cores;
    std::size_t threads = 0;
    for (const auto* rank : ranks) {
      cores.insert(rank->cores.begin(), rank->cores.end());
      threads += static_cast<std::size_t>(std::max(1, rank->threads));
    }
    if (cores.empty() || threads <= cores.size()) continue;
    crowded.push_back(ranks.front()->host);
    if (threads > most_threads) most_threads = threads, its_cores = cores.size();
  }
  if (crowded.empty()) return findings;
  findings.push_back(
      {Severity::warning, "threads",
       fmt::format("{} threads share {} cores: waiting ranks slow the working ones", most_threads, its_cores),
       list_names(crowded), "fewer ranks per host, fewer threads, or a binding that reaches more cores"});
  return findings;
}

Findings check_shared_memory(const JobFacts& job, const RunNeeds& needs) {
  Findings findings;
  if (needs.shared_memory_bytes <= 0) return findings;
  for (const auto& [node, ranks] : ranks_by_node(job)) {
    const auto* first = ranks.front();
    if (!first->host_facts || ranks.size() < 2) continue;
    const auto wanted = needs.shared_memory_bytes * static_cast<std::int64_t>(ranks.size());
    const auto free = first->host_facts->shared_memory_bytes;
    if (free >= wanted) continue;
    findings.push_back({Severity::warning, "shared-memory",
                        fmt::format("/dev/shm has {} free, the {} ranks want {}: they will talk by messages, slower",
                                    format_bytes(free), ranks.size(), format_bytes(wanted)),
                        first->host, "docker run --shm-size=..., or mount -o remount,size=... /dev/shm"});
  }
  return findings;
}

Findings check_limits(const JobFacts& job) {
  Findings findings;
  // A TCP connection to each rank elsewhere on each of a few interfaces, files, libraries.
  const auto files_wanted = 256 + 4 * static_cast<std::int64_t>(job.size());
  constexpr std::int64_t lockable_wanted = std::int64_t{1} << 30;
  std::vector<std::string> few_files, little_memlock, no_fabric;
  std::int64_t fewest = unlimited, least = unlimited;
  for (const auto* host : hosts_of(job)) {
    if (host->nofile < files_wanted) {
      few_files.push_back(host->host);
      fewest = std::min(fewest, host->nofile);
    }
    if (host->memlock >= lockable_wanted) continue;
    (host->host_facts->infiniband.empty() ? no_fabric : little_memlock).push_back(host->host);
    least = std::min(least, host->memlock);
  }
  if (!few_files.empty()) {
    findings.push_back(
        {Severity::warning, "open-files",
         fmt::format("a process may open {} files, {} ranks may need {}", fewest, job.size(), files_wanted),
         list_names(few_files), "ulimit -n 65536 before the start, or nofile in /etc/security/limits.conf"});
  }
  constexpr const char* fix =
      "memlock unlimited in /etc/security/limits.conf; docker run --ulimit memlock=-1; for Slurm LimitMEMLOCK=infinity "
      "in slurmd's unit";
  if (!little_memlock.empty()) {
    findings.push_back({Severity::warning, "memlock",
                        fmt::format("a process may lock {} of memory, and InfiniBand locks what it sends: connections "
                                    "fail or fall back to TCP",
                                    format_bytes(least)),
                        list_names(little_memlock), fix});
  } else if (!no_fabric.empty()) {
    findings.push_back({Severity::note, "memlock",
                        fmt::format("a process may lock {} of memory; InfiniBand and GPU offload would want more",
                                    format_bytes(least)),
                        list_names(no_fabric), fix});
  }
  return findings;
}

Findings check_clocks(const JobFacts& job) {
  const auto hosts = hosts_of(job);
  if (hosts.size() < 2) return {};
  std::vector<double> times;
  for (const auto* host : hosts) times.push_back(host->clock_s);
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>((times.size() - 1) / 2), times.end());
  const double median = times[(times.size() - 1) / 2];
  std::vector<std::string> off;
  double worst = 0;
  for (const auto* host : hosts) {
    const double skew = host->clock_s - median;
    if (std::abs(skew) <= largest_clock_skew_s) continue;
    off.push_back(fmt::format("{} is {} {}", host->host, duration(std::abs(skew)), skew > 0 ? "ahead" : "behind"));
    worst = std::max(worst, std::abs(skew));
  }
  if (off.empty()) return {};
  return {{Severity::warning, "clock", fmt::format("the hosts' clocks differ by {}", duration(worst)), list_names(off),
           "chronyc makestep, or timedatectl set-ntp true: times of files and logs mislead, and make, NFS and Slurm "
           "depend on them"}};
}

}  // namespace dstrain
