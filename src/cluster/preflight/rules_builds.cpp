// SPDX-License-Identifier: Apache-2.0
/// Rules about programs and hosts that must be the same, or must not.
#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "cluster/preflight/rules.hpp"

namespace dstrain {
namespace {

/// Ranks by the value of one fact, most frequent value first.
std::vector<std::pair<std::string, std::vector<std::string>>> by_value(
    const std::vector<std::pair<std::string, std::string>>& values) {
  std::vector<std::pair<std::string, std::vector<std::string>>> groups;
  for (const auto& [value, tag] : values) {
    auto group = std::find_if(groups.begin(), groups.end(), [&, v = &value](const auto& g) { return g.first == *v; });
    if (group == groups.end()) group = groups.insert(groups.end(), {value, {}});
    group->second.push_back(tag);
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const auto& a, const auto& b) { return a.second.size() > b.second.size(); });
  return groups;
}

/// "1.10.8 on 0@a, 1@a; 1.12.0 on 2@b"; empty where all agree.
std::string differences(const std::vector<std::pair<std::string, std::string>>& values) {
  const auto groups = by_value(values);
  if (groups.size() < 2) return {};
  std::string text;
  for (const auto& [value, tags] : groups)
    text += fmt::format("{}{} on {}", text.empty() ? "" : "; ", value.empty() ? "none" : value, list_names(tags));
  return text;
}

}  // namespace

std::vector<const RankFacts*> hosts_of(const JobFacts& job) {
  std::vector<const RankFacts*> hosts;
  for (const auto& rank : job) {
    if (rank.host_facts) hosts.push_back(&rank);
  }
  return hosts;
}

Findings check_binaries(const JobFacts& job) {
  std::vector<std::pair<std::string, std::string>> builds, files;
  for (const auto& rank : job) {
    builds.emplace_back("build " + rank.build.substr(0, 12), rank.tag());
    files.emplace_back("SHA-256 " + rank.binary.substr(0, 12), rank.tag());
  }
  auto different = differences(builds);
  if (different.empty()) different = differences(files);
  if (different.empty()) return {};
  return {{Severity::error, "binary", "the ranks run different builds of dstrain", different,
           "install the same binary on every host, or start it from a file system that all of them share"}};
}

Findings check_libraries(const JobFacts& job) {
  std::vector<std::pair<std::string, std::string>> mpi, hdf5, libraries, driver;
  for (const auto& rank : job) {
    mpi.emplace_back(rank.mpi, rank.tag());
    hdf5.emplace_back(rank.hdf5, rank.tag());
    if (!rank.libraries.empty()) libraries.emplace_back(rank.libraries, rank.tag());  // empty: not on a GPU
    if (rank.host_facts) driver.emplace_back(rank.host_facts->gpu_driver, rank.host);
  }
  Findings findings;
  const auto add = [&](const char* check, const char* what, const std::string& different) {
    if (different.empty()) return;
    findings.push_back({Severity::warning, check, fmt::format("the hosts have different versions of {}", what),
                        different, "install the same version on every host"});
  };
  add("mpi-version", "MPI", differences(mpi));
  add("hdf5-version", "HDF5", differences(hdf5));
  add("cuda-version", "CUDA's libraries", differences(libraries));
  add("driver-version", "the NVIDIA driver", differences(driver));
  return findings;
}

Findings check_launcher(const LauncherVariables& launcher, int world_size) {
  if (world_size > 1 || launcher.connects_mpi || launcher.launcher != "Slurm" || launcher.world_size < 2) return {};
  return {{Severity::warning,
           "launcher",
           fmt::format("one process runs, and the Slurm job has {} tasks", launcher.world_size),
           {},
           "in the batch script: srun --mpi=pmix dstrain ..., or dstrain launch ..."}};
}

Findings check_hosts(const JobFacts& job) {
  std::map<std::string, int> nodes;
  for (const auto* host : hosts_of(job)) ++nodes[host->host];
  Findings findings;
  for (const auto& [name, count] : nodes) {
    if (count < 2) continue;
    findings.push_back({Severity::warning,
                        "host-name",
                        fmt::format("{} hosts call themselves \"{}\"", count, name),
                        {},
                        "give each its own name (hostname NAME): messages, launchers and Slurm tell them apart by it"});
  }
  return findings;
}

}  // namespace dstrain
