// SPDX-License-Identifier: Apache-2.0
#include "cluster/preflight/rules_links.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <set>

namespace dstrain {
namespace {

constexpr double slow_share = 0.25, late_factor = 10, late_from_s = 1e-3;

/// What the better quarter of `values` reaches, in the order given by `better`.
template <typename Better>
double good_value(std::vector<double> values, Better better) {
  std::sort(values.begin(), values.end(), better);
  return values[(values.size() - 1) / 4];
}

const RankFacts* host_of(const JobFacts& job, int node) {
  for (const auto* host : hosts_of(job)) {
    if (host->node == node) return host;
  }
  return nullptr;
}

std::string name_of(const JobFacts& job, int node) {
  const auto* host = host_of(job, node);
  return host == nullptr ? fmt::format("node {}", node) : host->host;
}

/// The node that all slow links have in common while none of its links is good; -1: there is no such.
int culprit(const std::vector<LinkMeasurement>& slow, const std::vector<LinkMeasurement>& links) {
  for (const int node : {slow.front().a, slow.front().b}) {
    const auto touches = [&](const LinkMeasurement& l) { return l.a == node || l.b == node; };
    if (std::all_of(slow.begin(), slow.end(), touches) &&
        std::count_if(links.begin(), links.end(), touches) == std::ssize(slow) && slow.size() > 1)
      return node;
  }
  return -1;
}

struct Kind {
  const char* check;
  const char* fix;
  std::string (*text)(const LinkMeasurement&);
};

void add(const JobFacts& job, const std::vector<LinkMeasurement>& slow, const std::vector<LinkMeasurement>& links,
         const Kind& kind, const std::string& good, Findings& findings) {
  if (slow.empty()) return;
  if (const int node = culprit(slow, links); node >= 0) {
    const auto* host = host_of(job, node);
    findings.push_back(
        {Severity::warning, kind.check,
         fmt::format("every link of {} is slow: {}, where others reach {}", name_of(job, node), kind.text(slow.front()),
                     good),
         host == nullptr ? name_of(job, node) : fmt::format("{} of {}", interface_between(job, *host), host->host),
         kind.fix});
    return;
  }
  std::vector<std::string> pairs;
  for (const auto& link : slow)
    pairs.push_back(fmt::format("{} - {}: {}", name_of(job, link.a), name_of(job, link.b), kind.text(link)));
  findings.push_back(
      {Severity::warning, kind.check,
       fmt::format("{} link{} slow, others reach {}", slow.size(), slow.size() == 1 ? " is" : "s are", good),
       list_names(pairs), kind.fix});
}

std::string rate_text(const LinkMeasurement& link) { return fmt::format("{:.3f} GB/s", link.bytes_per_s * 1e-9); }
std::string latency_text(const LinkMeasurement& link) { return fmt::format("{:.1f} us", link.latency_s * 1e6); }

}  // namespace

std::string interface_between(const JobFacts& job, const RankFacts& host) {
  if (!host.host_facts) return "network";
  const auto chosen = host.settings.find("OMPI_MCA_btl_tcp_if_include");
  const auto excluded = host.settings.find("OMPI_MCA_btl_tcp_if_exclude");
  const auto common = common_subnets(job);
  std::vector<std::string> names;
  for (const auto& i : host.host_facts->interfaces) {
    if (!i.living() || i.loopback || !i.ipv4()) continue;
    const bool taken = chosen != host.settings.end()
                           ? mpi_list_names(chosen->second, i)
                           : std::find(common.begin(), common.end(), subnet_of(i)) != common.end() &&
                                 (excluded == host.settings.end() || !mpi_list_names(excluded->second, i));
    if (taken && std::find(names.begin(), names.end(), i.name) == names.end()) names.push_back(i.name);
  }
  return names.empty() ? "network" : list_names(names);
}

Findings check_links(const JobFacts& job, const std::vector<LinkMeasurement>& links) {
  if (links.size() < 3) return {};
  std::vector<double> rates, latencies;
  for (const auto& link : links) {
    rates.push_back(link.bytes_per_s);
    latencies.push_back(link.latency_s);
  }
  const double rate = good_value(rates, std::greater<>()), latency = good_value(latencies, std::less<>());
  std::vector<LinkMeasurement> slow, late;
  for (const auto& link : links) {
    if (link.bytes_per_s < slow_share * rate) slow.push_back(link);
    if (link.latency_s > std::max(late_from_s, late_factor * latency)) late.push_back(link);
  }
  Findings findings;
  add(job, slow, links,
      {"slow-link", "ethtool NAME (speed, errors), the cable, the switch port, traffic of others", rate_text},
      fmt::format("{:.3f} GB/s", rate * 1e-9), findings);
  add(job, late, links, {"late-link", "a route through other networks, a busy host, power saving", latency_text},
      fmt::format("{:.1f} us", latency * 1e6), findings);
  return findings;
}

}  // namespace dstrain
