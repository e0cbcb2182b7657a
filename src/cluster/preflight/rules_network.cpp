// SPDX-License-Identifier: Apache-2.0
/// Rules about network interfaces, and about which of them MPI and NCCL will take.
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "cluster/preflight/rules.hpp"

namespace dstrain {
namespace {

constexpr const char* include_variable = "OMPI_MCA_btl_tcp_if_include";
constexpr const char* exclude_variable = "OMPI_MCA_btl_tcp_if_exclude";
constexpr const char* nccl_variable = "NCCL_SOCKET_IFNAME";

std::vector<std::string_view> split(std::string_view list) {
  std::vector<std::string_view> words;
  while (!list.empty()) {
    const auto comma = std::min(list.find(','), list.size());
    if (comma > 0) words.push_back(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return words;
}

std::optional<std::string> setting(const RankFacts& rank, const char* name) {
  const auto found = rank.settings.find(name);
  return found == rank.settings.end() ? std::nullopt : std::optional(found->second);
}

/// Interfaces that MPI's TCP transport takes on this host.
bool mpi_takes(const RankFacts& host, const NetworkInterface& interface) {
  if (!interface.up || interface.loopback || interface.address.empty()) return false;
  if (const auto btl = setting(host, "OMPI_MCA_btl");
      btl && !btl->starts_with('^') && btl->find("tcp") == std::string::npos)
    return false;
  if (const auto include = setting(host, include_variable)) return mpi_list_names(*include, interface);
  const auto exclude = setting(host, exclude_variable);
  return !exclude || !mpi_list_names(*exclude, interface);
}

std::string set_this(const JobFacts& job) {
  const auto common = common_subnets(job);
  return common.empty() ? fmt::format("name the right network for MPI: {}=<subnet>", include_variable)
                        : fmt::format("{}={}", include_variable, common.front());
}

}  // namespace

bool mpi_list_names(std::string_view list, const NetworkInterface& interface) {
  const auto words = split(list);
  return std::any_of(words.begin(), words.end(), [&](std::string_view word) {
    return word.find('/') == std::string_view::npos ? word == interface.name : lies_in(interface.address, word);
  });
}

bool nccl_takes(std::string_view list, std::string_view name) {
  bool excluding = false, exact = false;
  if (list.starts_with('^')) excluding = true, list.remove_prefix(1);
  if (list.starts_with('=')) exact = true, list.remove_prefix(1);
  const auto words = split(list);
  const bool named = std::any_of(words.begin(), words.end(), [&](std::string_view word) {
    const auto interface = word.substr(0, word.find(':'));  // a port may follow
    return exact ? interface == name : name.starts_with(interface);
  });
  return named != excluding;
}

std::vector<std::string> common_subnets(const JobFacts& job) {
  std::optional<std::vector<std::string>> common;
  for (const auto* host : hosts_of(job)) {
    std::vector<std::string> here;
    for (const auto& interface : host->host_facts->interfaces) {
      if (!interface.living() || interface.loopback || !interface.ipv4() || is_container_gateway(interface.name))
        continue;
      here.push_back(subnet_of(interface));
    }
    if (!common) {
      common = here;
      continue;
    }
    std::erase_if(*common,
                  [&](const auto& subnet) { return std::find(here.begin(), here.end(), subnet) == here.end(); });
  }
  return common.value_or(std::vector<std::string>());
}

Findings check_interfaces(const JobFacts& job) {
  const auto hosts = hosts_of(job);
  if (hosts.size() < 2) return {};
  Findings findings;
  // The same address on several hosts is the mark of a gateway, whatever its name.
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> holders;
  for (const auto* host : hosts) {
    for (const auto& interface : host->host_facts->interfaces) {
      if (mpi_takes(*host, interface)) holders[{interface.address, interface.name}].push_back(host->host);
    }
  }
  for (const auto& [key, names] : holders) {
    const auto& [address, name] = key;
    if (names.size() > 1) {
      findings.push_back({Severity::warning, "gateway-interface",
                          fmt::format("{} has the address {} on {} hosts: MPI takes it for a way between them and may "
                                      "hang there",
                                      name, address, names.size()),
                          list_names(names), set_this(job)});
    }
  }
  if (common_subnets(job).empty()) {
    std::string where;
    for (std::size_t i = 0; i < std::min<std::size_t>(hosts.size(), 4); ++i)
      where += fmt::format("{}{}: {}", i == 0 ? "" : "; ", hosts[i]->host, describe(hosts[i]->host_facts->interfaces));
    findings.push_back(
        {Severity::note, "no-common-subnet", "no subnet reaches all hosts directly: traffic is routed", where, {}});
  }
  return findings;
}

Findings check_chosen_interfaces(const JobFacts& job, const RunNeeds& needs) {
  Findings findings;
  const auto severity = needs.uses_nccl ? Severity::error : Severity::note;
  for (const auto* host : hosts_of(job)) {
    const auto& interfaces = host->host_facts->interfaces;
    const auto nccl = setting(*host, nccl_variable);
    if (!nccl || nccl->empty()) continue;
    const auto taken = [&](const auto& interface) { return nccl_takes(*nccl, interface.name); };
    const auto living = [&](const auto& interface) { return taken(interface) && interface.living(); };
    const auto fix = fmt::format("this host has {}; a prefix such as NCCL_SOCKET_IFNAME=eth fits several names",
                                 describe(interfaces));
    if (std::none_of(interfaces.begin(), interfaces.end(), taken)) {
      findings.push_back({severity, "nccl-interface",
                          fmt::format("{}=\"{}\" fits no interface of this host", nccl_variable, *nccl), host->host,
                          nccl->find_first_of(" #\"'") == std::string::npos
                              ? fix
                              : "the value holds blanks, quotes or a comment; write the bare name"});
    } else if (std::none_of(interfaces.begin(), interfaces.end(), living)) {
      findings.push_back({severity, "nccl-interface",
                          fmt::format("{}=\"{}\" fits only interfaces that are down", nccl_variable, *nccl), host->host,
                          fix});
    }
  }
  for (const auto* host : hosts_of(job)) {
    const auto include = setting(*host, include_variable);
    if (!include) continue;
    for (const auto& interface : host->host_facts->interfaces) {
      if (!mpi_list_names(*include, interface) || interface.living() || interface.loopback) continue;
      findings.push_back({Severity::warning, "mpi-interface",
                          fmt::format("{}={} takes {}, which {}", include_variable, *include, interface.name,
                                      interface.up ? "has no carrier" : "is down"),
                          host->host, fmt::format("ip link set {} up, or another network", interface.name)});
    }
  }
  return findings;
}

}  // namespace dstrain
