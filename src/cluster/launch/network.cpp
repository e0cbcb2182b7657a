// SPDX-License-Identifier: Apache-2.0
#include "cluster/launch/network.hpp"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <memory>

namespace dstrain {
namespace {

Ipv4 mask_of(int prefix) noexcept { return prefix <= 0 ? 0 : ~Ipv4{0} << (32 - std::min(prefix, 32)); }

Ipv4 number_of(const sockaddr* address) noexcept {
  return ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr);
}

}  // namespace

bool Subnet::contains(Ipv4 other) const noexcept { return (other & mask_of(prefix)) == address; }

std::string ipv4_text(Ipv4 a) { return fmt::format("{}.{}.{}.{}", a >> 24, (a >> 16) & 255, (a >> 8) & 255, a & 255); }

std::string to_text(const Subnet& subnet) { return fmt::format("{}/{}", ipv4_text(subnet.address), subnet.prefix); }

std::optional<Ipv4> parse_ipv4(std::string_view text) {
  Ipv4 address = 0;
  for (int part = 0; part < 4; ++part) {
    unsigned number = 256;
    const auto [stopped, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || number > 255) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(stopped - text.data()));
    address = address << 8 | number;
    if (part == 3) break;
    if (text.empty() || text.front() != '.') return std::nullopt;
    text.remove_prefix(1);
  }
  return text.empty() ? std::optional(address) : std::nullopt;
}

std::optional<Subnet> parse_subnet(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto address = parse_ipv4(text.substr(0, slash));
  int prefix = -1;
  const auto digits = text.substr(slash + 1);
  const auto [stopped, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
  if (!address || error != std::errc() || stopped != digits.data() + digits.size() || prefix < 1 || prefix > 32)
    return std::nullopt;
  return Subnet{*address & mask_of(prefix), prefix};
}

Subnet subnet_of(const Interface& interface) noexcept {
  return {interface.address & mask_of(interface.prefix), interface.prefix};
}

bool is_host_internal(std::string_view name) noexcept {
  constexpr std::array<std::string_view, 11> prefixes = {"lo",  "docker",  "virbr", "br-",   "veth", "cni",
                                                         "cbr", "flannel", "cali",  "lxcbr", "tun"};
  return std::ranges::any_of(prefixes, [&](std::string_view prefix) { return name.starts_with(prefix); });
}

std::vector<Interface> own_interfaces() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(list, freeifaddrs);
  std::vector<Interface> found;
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    constexpr unsigned up = IFF_UP | IFF_RUNNING;
    if (at->ifa_addr == nullptr || at->ifa_addr->sa_family != AF_INET || at->ifa_netmask == nullptr) continue;
    if ((at->ifa_flags & up) != up || (at->ifa_flags & IFF_LOOPBACK) != 0) continue;
    found.push_back({at->ifa_name, number_of(at->ifa_addr), std::popcount(number_of(at->ifa_netmask))});
  }
  return found;
}

std::vector<Ipv4> resolve(const std::string& name) {
  if (const auto address = parse_ipv4(name)) return {*address};
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (getaddrinfo(name.c_str(), nullptr, &hints, &list) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, freeaddrinfo);
  std::vector<Ipv4> addresses;
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
    const Ipv4 address = number_of(at->ai_addr);
    if (std::ranges::find(addresses, address) == addresses.end()) addresses.push_back(address);
  }
  return addresses;
}

std::optional<Subnet> common_subnet(const std::vector<Interface>& own, const std::vector<HostAddresses>& hosts) {
  std::vector<const Interface*> order;
  for (const bool internal : {false, true}) {
    for (const auto& interface : own) {
      if (is_host_internal(interface.name) == internal) order.push_back(&interface);
    }
  }
  for (const auto* interface : order) {
    const Subnet subnet = subnet_of(*interface);
    const bool everywhere = std::ranges::all_of(hosts, [&](const HostAddresses& host) {
      return host.local || std::ranges::any_of(host.addresses, [&](Ipv4 address) { return subnet.contains(address); });
    });
    if (everywhere) return subnet;
  }
  return std::nullopt;
}

std::string interface_in(const std::vector<Interface>& own, const Subnet& subnet) {
  for (const auto& interface : own) {
    if (subnet.contains(interface.address)) return interface.name;
  }
  return {};
}

std::optional<Subnet> chosen_subnet(std::string_view text, const std::vector<Interface>& own) {
  text = text.substr(0, text.find(','));
  if (const auto subnet = parse_subnet(text)) return subnet;
  if (text.starts_with('=')) text.remove_prefix(1);
  if (text.empty() || text.starts_with('^')) return std::nullopt;
  for (const bool exact : {true, false}) {  // NCCL takes a prefix
    for (const auto& interface : own) {
      if (exact ? interface.name == text : interface.name.starts_with(text)) return subnet_of(interface);
    }
  }
  return std::nullopt;
}

}  // namespace dstrain
