// SPDX-License-Identifier: Apache-2.0
#include "comm/silence.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <set>

namespace dstrain {
namespace {

constexpr const char* choose_network = "OMPI_MCA_btl_tcp_if_include";

bool is_ours(const OwnContact& own, const std::string& address) {
  return std::any_of(own.interfaces.begin(), own.interfaces.end(),
                     [&](const auto& interface) { return !interface.loopback && interface.address == address; });
}

std::string join(const std::vector<std::string>& parts, const char* between) {
  std::string text;
  for (const auto& part : parts) text += (text.empty() ? "" : between) + part;
  return text;
}

/// What the probes said about all peers, sorted.
struct Verdicts {
  std::vector<std::string> dead;     ///< "eth1 of node2 (10.78.0.12)"
  std::vector<std::string> doubled;  ///< interfaces whose address is on both hosts
  std::set<std::string> living;      ///< subnets with an answer
};

Verdicts judge(const OwnContact& own, const std::vector<PeerContact>& peers) {
  Verdicts verdicts;
  for (const auto& peer : peers) {
    for (std::size_t i = 0; i < peer.interfaces.size(); ++i) {
      const auto& interface = peer.interfaces[i];
      const auto name = fmt::format("{} of {} ({})", interface.name, peer.host, interface.address);
      if (!interface.loopback && interface.up && is_ours(own, interface.address)) verdicts.doubled.push_back(name);
      if (i >= peer.reach.size() || !worth_probing(own, interface)) continue;
      if (peer.reach[i] == Reach::answers) {
        if (auto subnet = subnet_of(interface); !subnet.empty()) verdicts.living.insert(std::move(subnet));
      } else {
        verdicts.dead.push_back(name);
      }
    }
  }
  return verdicts;
}

/// "eth0 1500 on node1, eth0 9000 on node2"
std::string mtus(const OwnContact& own, const std::vector<PeerContact>& peers) {
  std::vector<std::string> parts;
  const auto add = [&](const std::string& host, const std::vector<NetworkInterface>& interfaces) {
    for (const auto& i : interfaces) {
      if (i.up && !i.loopback && i.ipv4() && i.mtu > 0)
        parts.push_back(fmt::format("{} {} on {}", i.name, i.mtu, host));
    }
  };
  add(own.host, own.interfaces);
  for (const auto& peer : peers) add(peer.host, peer.interfaces);
  constexpr std::size_t most = 8;
  if (parts.size() > most) parts.resize(most);
  return join(parts, ", ");
}

}  // namespace

std::string name_ranks(const std::vector<PeerContact>& peers) {
  constexpr std::size_t most = 8;
  std::vector<std::string> names;
  for (const auto& peer : peers) {
    if (names.size() == most) break;
    names.push_back(fmt::format("rank {}{}{}", peer.rank, peer.host.empty() ? "" : "@", peer.host));
  }
  const auto text = join(names, ", ");
  return peers.size() > most ? fmt::format("{} and {} more", text, peers.size() - most) : text;
}

bool worth_probing(const OwnContact& own, const NetworkInterface& theirs) {
  return theirs.up && !theirs.loopback && !theirs.address.empty() && !is_ours(own, theirs.address) &&
         !is_container_gateway(theirs.name);
}

std::string explain_silence(const OwnContact& own, const std::vector<PeerContact>& peers) {
  if (own.large_lost || std::any_of(peers.begin(), peers.end(), [](const auto& p) { return p.large_lost; })) {
    return fmt::format(
        "small messages arrive and large ones do not: something on the way takes smaller packets than the "
        "hosts send (MTU: {}); set the same MTU on hosts and switches: ip link set dev NAME mtu 1500",
        mtus(own, peers));
  }
  const auto verdicts = judge(own, peers);
  const auto living = join({verdicts.living.begin(), verdicts.living.end()}, ",");
  if (!verdicts.dead.empty() && !living.empty()) {
    return fmt::format("{} {} not answer {}, while {} does: MPI must be kept off the dead interface; set {}={}",
                       join(verdicts.dead, ", "), verdicts.dead.size() == 1 ? "does" : "do", own.host, living,
                       choose_network, living);
  }
  if (!verdicts.doubled.empty() && !living.empty()) {
    return fmt::format("{} {} the address of an interface of {}, as container gateways have: set {}={}",
                       join(verdicts.doubled, ", "), verdicts.doubled.size() == 1 ? "has" : "have", own.host,
                       choose_network, living);
  }
  if (!verdicts.dead.empty()) {
    return fmt::format("no address answers {}: {}; is the host up, the cable in, the firewall open?", own.host,
                       join(verdicts.dead, ", "));
  }
  if (!living.empty()) {
    return fmt::format(
        "{} answers, so the process stands still or a firewall closes MPI's ports (btl_tcp_port_min_v4 and "
        "btl_tcp_port_range_v4 choose them)",
        living);
  }
  if (std::any_of(peers.begin(), peers.end(), [](const auto& peer) { return !peer.host.empty(); })) {
    return fmt::format(
        "the launcher started them, and nothing more is heard of their processes: look there with ps and dmesg for "
        "ones that stand still; {} has {}, and {} chooses the network",
        own.host, describe(own.interfaces), choose_network);
  }
  return fmt::format(
      "nothing is known of these ranks' hosts: their processes stand still, or cannot be reached from {}; it has {}, "
      "and {} chooses the network",
      own.host, describe(own.interfaces), choose_network);
}

}  // namespace dstrain
