// SPDX-License-Identifier: Apache-2.0
#include "comm/network_interfaces.hpp"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>

namespace dstrain {
namespace {

constexpr std::size_t most_interfaces = 64;

template <typename Integer>
std::optional<Integer> number(std::string_view text) {
  Integer value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

std::optional<std::uint32_t> ipv4_bits(std::string_view address) {
  in_addr parsed{};
  if (inet_pton(AF_INET, std::string(address).c_str(), &parsed) != 1) return std::nullopt;
  return ntohl(parsed.s_addr);
}

std::uint32_t mask_of(int prefix) { return prefix <= 0 ? 0 : ~std::uint32_t{0} << (32 - std::min(prefix, 32)); }

std::string dotted(std::uint32_t bits) {
  return fmt::format("{}.{}.{}.{}", bits >> 24, bits >> 16 & 255, bits >> 8 & 255, bits & 255);
}

int bits_set(const void* bytes, std::size_t count) {
  int bits = 0;
  for (std::size_t i = 0; i < count; ++i) bits += std::popcount(static_cast<const unsigned char*>(bytes)[i]);
  return bits;
}

/// Address and prefix of an entry; nothing for link-layer and link-local ones.
void read_address(const ifaddrs& entry, NetworkInterface& interface) {
  char text[INET6_ADDRSTRLEN] = {};
  if (entry.ifa_addr->sa_family == AF_INET) {
    sockaddr_in address{}, mask{};
    std::memcpy(&address, entry.ifa_addr, sizeof address);
    if (entry.ifa_netmask != nullptr) std::memcpy(&mask, entry.ifa_netmask, sizeof mask);
    inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
    interface.prefix = bits_set(&mask.sin_addr, sizeof mask.sin_addr);
  } else if (entry.ifa_addr->sa_family == AF_INET6) {
    sockaddr_in6 address{}, mask{};
    std::memcpy(&address, entry.ifa_addr, sizeof address);
    if (IN6_IS_ADDR_LINKLOCAL(&address.sin6_addr)) return;
    if (entry.ifa_netmask != nullptr) std::memcpy(&mask, entry.ifa_netmask, sizeof mask);
    inet_ntop(AF_INET6, &address.sin6_addr, text, sizeof text);
    interface.prefix = bits_set(&mask.sin6_addr, sizeof mask.sin6_addr);
  }
  interface.address = text;
}

void read_mtus(std::vector<NetworkInterface>& interfaces) {
  const int asked = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (asked < 0) return;
  for (auto& interface : interfaces) {
    ifreq request{};
    interface.name.copy(request.ifr_name, sizeof request.ifr_name - 1);
    if (ioctl(asked, SIOCGIFMTU, &request) == 0) interface.mtu = request.ifr_mtu;
  }
  close(asked);
}

bool leads_elsewhere(const NetworkInterface& interface) {
  return interface.up && !interface.loopback && !interface.address.empty();
}

}  // namespace

std::vector<NetworkInterface> network_interfaces() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(list, freeifaddrs);
  std::vector<NetworkInterface> found, bare;
  for (const auto* entry = list; entry != nullptr; entry = entry->ifa_next) {
    NetworkInterface interface;
    interface.name = entry->ifa_name;
    interface.up = (entry->ifa_flags & IFF_UP) != 0;
    interface.carrier = (entry->ifa_flags & IFF_RUNNING) != 0;
    interface.loopback = (entry->ifa_flags & IFF_LOOPBACK) != 0;
    if (entry->ifa_addr != nullptr) read_address(*entry, interface);
    (interface.address.empty() ? bare : found).push_back(std::move(interface));
  }
  for (auto& interface : bare) {
    const auto same = [&](const auto& other) { return other.name == interface.name; };
    if (std::none_of(found.begin(), found.end(), same)) found.push_back(std::move(interface));
  }
  if (found.size() > most_interfaces) found.resize(most_interfaces);
  read_mtus(found);
  return found;
}

std::string subnet_of(const NetworkInterface& interface) {
  const auto bits = ipv4_bits(interface.address);
  return bits ? fmt::format("{}/{}", dotted(*bits & mask_of(interface.prefix)), interface.prefix) : std::string();
}

bool lies_in(std::string_view address, std::string_view subnet) {
  const auto slash = subnet.find('/');
  if (slash == std::string_view::npos) return false;
  const auto bits = ipv4_bits(address), network = ipv4_bits(subnet.substr(0, slash));
  const auto prefix = number<int>(subnet.substr(slash + 1));
  if (!bits || !network || !prefix || *prefix < 0 || *prefix > 32) return false;
  return ((*bits ^ *network) & mask_of(*prefix)) == 0;
}

bool is_container_gateway(std::string_view name) {
  constexpr std::string_view beginnings[] = {"docker", "virbr",   "cni",     "podman", "lxcbr",
                                             "lxdbr",  "flannel", "cilium_", "vmnet",  "kube-bridge"};
  constexpr std::size_t length_of_dockers = 15;  // br-<12 hexadecimal digits>; br-lan is a person's own
  if (name.starts_with("br-") && name.size() == length_of_dockers &&
      name.substr(3).find_first_not_of("0123456789abcdef") == std::string_view::npos)
    return true;
  return std::any_of(std::begin(beginnings), std::end(beginnings),
                     [&](auto beginning) { return name.starts_with(beginning); });
}

std::string describe(const std::vector<NetworkInterface>& interfaces) {
  std::string text;
  for (const auto& interface : interfaces) {
    if (!leads_elsewhere(interface)) continue;
    text += fmt::format("{}{} {}/{}{}", text.empty() ? "" : ", ", interface.name, interface.address, interface.prefix,
                        interface.carrier ? "" : " (no carrier)");
  }
  return text.empty() ? "none" : text;
}

std::string to_line(const std::vector<NetworkInterface>& interfaces, std::size_t limit) {
  std::string line;
  for (const auto& i : interfaces) {
    const auto word = fmt::format("{}|{}|{}|{}|{};", i.name, i.address, i.prefix,
                                  (i.up ? 1 : 0) + (i.loopback ? 2 : 0) + (i.carrier ? 4 : 0), i.mtu);
    if (line.size() + word.size() > limit) break;
    line += word;
  }
  return line;
}

std::vector<NetworkInterface> parse_interfaces(std::string_view line) {
  std::vector<NetworkInterface> interfaces;
  while (!line.empty() && interfaces.size() < most_interfaces) {
    const auto end = std::min(line.find(';'), line.size());
    auto word = line.substr(0, end);
    line.remove_prefix(std::min(end + 1, line.size()));
    std::string_view fields[5];
    for (auto& field : fields) {
      const auto bar = std::min(word.find('|'), word.size());
      field = word.substr(0, bar);
      word.remove_prefix(std::min(bar + 1, word.size()));
    }
    const auto prefix = number<int>(fields[2]);
    const auto flags = number<int>(fields[3]), mtu = number<int>(fields[4]);
    if (fields[0].empty() || !prefix || !flags || !mtu) continue;
    interfaces.push_back({std::string(fields[0]), std::string(fields[1]), *prefix, (*flags & 1) != 0, (*flags & 2) != 0,
                          *mtu, (*flags & 4) != 0});
  }
  return interfaces;
}

}  // namespace dstrain
