// SPDX-License-Identifier: Apache-2.0
/// Rules about the variables of NCCL, UCX and Open MPI: against each other, between ranks, against the hardware.
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "cluster/preflight/rules.hpp"

namespace dstrain {
namespace {

/// Two settings that do not go together. An empty value means: set to anything but the empty text.
struct Contradiction {
  const char* first;
  std::string_view first_value;
  const char* second;
  std::string_view second_value;
  const char* what;
  const char* fix;
  bool nccl;  ///< matters only where NCCL runs
};

constexpr Contradiction contradictions[] = {
    {"NCCL_NET", "IB", "NCCL_IB_DISABLE", "1", "NCCL is told to use InfiniBand and not to use it",
     "unset NCCL_IB_DISABLE or NCCL_NET", true},
    {"NCCL_NET", "Socket", "NCCL_IB_HCA", "", "NCCL_IB_HCA has no effect: NCCL_NET=Socket", "unset one of them", true},
    {"NCCL_IB_DISABLE", "1", "NCCL_IB_HCA", "", "NCCL_IB_HCA has no effect: NCCL_IB_DISABLE=1", "unset one of them",
     true},
    {"NCCL_P2P_DISABLE", "1", "NCCL_SHM_DISABLE", "1",
     "ranks of one host may use neither GPU-to-GPU copies nor shared memory: their traffic goes through the network",
     "unset NCCL_SHM_DISABLE", true},
    {"NCCL_P2P_DISABLE", "1", "NCCL_P2P_LEVEL", "", "NCCL_P2P_LEVEL has no effect: NCCL_P2P_DISABLE=1",
     "unset one of them", true},
    {"OMPI_MCA_btl_tcp_if_include", "", "OMPI_MCA_btl_tcp_if_exclude", "",
     "Open MPI takes either a list of interfaces to use or one to leave out", "unset one of them", false},
    {"OMPI_MCA_pml", "ucx", "OMPI_MCA_btl_tcp_if_include", "",
     "the choice of interfaces has no effect on UCX (pml ucx)", "UCX_NET_DEVICES names UCX's", false},
};

const std::string* value_of(const RankFacts& rank, const char* name) {
  const auto found = rank.settings.find(name);
  return found == rank.settings.end() ? nullptr : &found->second;
}

bool holds(const RankFacts& rank, const char* name, std::string_view value) {
  const auto* found = value_of(rank, name);
  return found != nullptr && (value.empty() ? !found->empty() : *found == value);
}

/// NCCL's and MPI's traffic on different networks: allowed, seldom meant.
void check_same_network(const RankFacts& host, Findings& findings) {
  const auto* nccl = value_of(host, "NCCL_SOCKET_IFNAME");
  const auto* mpi = value_of(host, "OMPI_MCA_btl_tcp_if_include");
  if (nccl == nullptr || mpi == nullptr || !host.host_facts) return;
  bool shared = false, any_nccl = false, any_mpi = false;
  for (const auto& interface : host.host_facts->interfaces) {
    const bool by_nccl = nccl_takes(*nccl, interface.name), by_mpi = mpi_list_names(*mpi, interface);
    any_nccl |= by_nccl, any_mpi |= by_mpi, shared |= by_nccl && by_mpi;
  }
  if (shared || !any_nccl || !any_mpi) return;
  findings.push_back({Severity::note, "networks", fmt::format("MPI uses {} and NCCL {}: two networks", *mpi, *nccl),
                      host.host, "let both name the network that is common to all hosts"});
}

/// Settings that make collectives disagree, or connections impossible, where they differ between ranks.
constexpr const char* must_agree[] = {"NCCL_ALGO",          "NCCL_PROTO",         "NCCL_NET",         "NCCL_NET_PLUGIN",
                                      "NCCL_IB_DISABLE",    "NCCL_SOCKET_FAMILY", "NCCL_BUFFSIZE",    "NCCL_NTHREADS",
                                      "NCCL_MIN_NCHANNELS", "NCCL_MAX_NCHANNELS", "NCCL_NVLS_ENABLE", "NCCL_CROSS_NIC",
                                      "NCCL_COMM_ID",       "OMPI_MCA_pml",       "OMPI_MCA_btl",     "OMPI_MCA_mtl",
                                      "OMPI_MCA_osc",       "OMPI_MCA_coll",      "UCX_TLS"};

}  // namespace

Findings check_contradictions(const JobFacts& job, const RunNeeds& needs) {
  Findings findings;
  for (const auto& c : contradictions) {
    std::vector<std::string> tags;
    std::string values;
    for (const auto& rank : job) {
      if (!holds(rank, c.first, c.first_value) || !holds(rank, c.second, c.second_value)) continue;
      if (values.empty())
        values = fmt::format("{}={} {}={}", c.first, *value_of(rank, c.first), c.second, *value_of(rank, c.second));
      tags.push_back(rank.tag());
    }
    if (tags.empty()) continue;
    const bool matters = !c.nccl || needs.uses_nccl;
    findings.push_back({matters ? Severity::warning : Severity::note, "contradiction", c.what,
                        fmt::format("{} on {}", values, tags.size() == job.size() ? "all ranks" : list_names(tags)),
                        c.fix});
  }
  for (const auto* host : hosts_of(job)) check_same_network(*host, findings);
  return findings;
}

Findings check_agreement(const JobFacts& job) {
  // Settings that divide the ranks in the same way have one cause, and are said in one line.
  struct Division {
    std::vector<std::string> names;
    std::string where;
  };
  std::map<std::vector<std::vector<std::string>>, Division> divisions;
  for (const char* name : must_agree) {
    std::map<std::string, std::vector<std::string>> ranks;
    for (const auto& rank : job) {
      const auto* value = value_of(rank, name);
      ranks[value == nullptr ? "not set" : fmt::format("\"{}\"", *value)].push_back(rank.tag());
    }
    if (ranks.size() < 2) continue;
    std::vector<std::vector<std::string>> groups;
    std::string where;
    for (const auto& [value, tags] : ranks) {
      groups.push_back(tags);
      where += fmt::format("{}{} on {}", where.empty() ? "" : "; ", value, list_names(tags));
    }
    std::sort(groups.begin(), groups.end());
    auto& division = divisions[groups];
    if (division.names.empty()) division.where = fmt::format("{}: {}", name, where);
    division.names.emplace_back(name);
  }
  Findings findings;
  for (const auto& [groups, division] : divisions) {
    findings.push_back({Severity::warning, "settings-differ",
                        fmt::format("{} {} not the same on all ranks", list_names(division.names),
                                    division.names.size() == 1 ? "is" : "are"),
                        division.where,
                        fmt::format("set {} for all: mpirun -x, or one .deepspeed_env for `dstrain launch`",
                                    division.names.size() == 1 ? "it" : "them")});
  }
  return findings;
}

Findings check_fabric(const JobFacts& job, const RunNeeds& needs) {
  Findings findings;
  std::vector<std::string> hosts;
  std::string devices, why;
  for (const auto* host : hosts_of(job)) {
    const auto& fabric = host->host_facts->infiniband;
    if (fabric.empty()) continue;
    std::string reason;
    if (holds(*host, "NCCL_IB_DISABLE", "1")) reason = "NCCL_IB_DISABLE=1";
    if (holds(*host, "NCCL_NET", "Socket")) reason = "NCCL_NET=Socket";
    if (reason.empty()) continue;
    hosts.push_back(host->host);
    devices = fabric.front();
    why = reason;
  }
  if (!hosts.empty()) {
    findings.push_back(
        {needs.uses_nccl ? Severity::warning : Severity::note, "sockets-beside-infiniband",
         fmt::format("{} keeps NCCL on sockets while {} is active: GPUs look busy and draw little power", why, devices),
         list_names(hosts), "unset it; NCCL_NET=IB turns a silent fall back into an error"});
  }
  hosts.clear();
  for (const auto* host : hosts_of(job)) {
    const auto* pml = value_of(*host, "OMPI_MCA_pml");
    if (!host->host_facts->infiniband.empty() && (pml == nullptr || *pml == "ob1")) hosts.push_back(host->host);
  }
  if (hosts.size() > 1) {
    findings.push_back(
        {Severity::note, "mpi-beside-infiniband",
         "InfiniBand is active and nothing makes MPI use it (Debian's Open MPI leaves UCX out by default)",
         list_names(hosts), "OMPI_MCA_pml=ucx, where UCX is installed"});
  }
  return findings;
}

Findings check_all(const JobFacts& job, const RunNeeds& needs) {
  Findings all;
  const auto add = [&](Findings some) { all.insert(all.end(), some.begin(), some.end()); };
  add(check_binaries(job));
  add(check_libraries(job));
  add(check_hosts(job));
  if (!needs.shares_gpus) add(check_device_per_rank(job));
  add(check_gpus(job, needs));
  add(check_threads(job));
  add(check_shared_memory(job, needs));
  add(check_limits(job));
  add(check_clocks(job));
  add(check_interfaces(job));
  add(check_chosen_interfaces(job, needs));
  add(check_contradictions(job, needs));
  add(check_agreement(job));
  add(check_fabric(job, needs));
  return all;
}

}  // namespace dstrain
