// SPDX-License-Identifier: Apache-2.0
/// The network interfaces of this host, and what can be said about them without sending anything.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dstrain {

/// One address of an interface; an interface without any stands once, with an empty address.
struct NetworkInterface {
  std::string name;
  std::string address;  ///< 10.0.3.2 or fe80::1
  int prefix = 0;       ///< bits of the network part
  bool up = false;      ///< switched on: what MPI goes by
  bool loopback = false;
  int mtu = 0;          ///< bytes of the largest packet; 0: unknown
  bool carrier = true;  ///< something is at the other end of the cable; a bridge without members has none

  /// Up, with a carrier.
  [[nodiscard]] bool living() const { return up && carrier; }

  [[nodiscard]] bool ipv4() const { return !address.empty() && address.find(':') == std::string::npos; }
  friend bool operator==(const NetworkInterface&, const NetworkInterface&) = default;
};

/// In the system's order, at most 64. IPv6 link-local addresses are left out. Local.
std::vector<NetworkInterface> network_interfaces();

/// "10.77.0.0/24" of 10.77.0.11/24; empty for anything but IPv4. Pure.
std::string subnet_of(const NetworkInterface& interface);

/// True where `address` (IPv4) lies in `subnet` ("10.77.0.0/24"); false where either is no such thing. Pure.
bool lies_in(std::string_view address, std::string_view subnet);

/// True for the names of bridges and tunnels that container and virtual-machine managers make on a host: they lead to
/// no other host, and carry the same address on all of them. Pure.
bool is_container_gateway(std::string_view name);

/// "eth0 10.77.0.11/24, eth1 10.78.0.11/24": those that are up and can lead to other hosts. Pure.
std::string describe(const std::vector<NetworkInterface>& interfaces);

/// One line that parse_interfaces() reads back; at most `limit` bytes, whole interfaces. Pure.
std::string to_line(const std::vector<NetworkInterface>& interfaces, std::size_t limit);
std::vector<NetworkInterface> parse_interfaces(std::string_view line);

}  // namespace dstrain
