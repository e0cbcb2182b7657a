// SPDX-License-Identifier: Apache-2.0
/// Which network the ranks of several hosts talk over: one subnet that all of them have, the same for MPI and NCCL.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dstrain {

/// An IPv4 address as a number, most significant byte first.
using Ipv4 = std::uint32_t;

/// An interface that is up, with one of its addresses.
struct Interface {
  std::string name;
  Ipv4 address = 0;
  int prefix = 32;  ///< bits of the subnet

  friend bool operator==(const Interface&, const Interface&) = default;
};

/// The addresses of one host that are known: all of its interfaces, or what its name resolves to.
struct HostAddresses {
  std::string host;
  std::vector<Ipv4> addresses;
  bool local = false;  ///< this machine
};

struct Subnet {
  Ipv4 address = 0;  ///< with the host's bits zero
  int prefix = 0;

  [[nodiscard]] bool contains(Ipv4 other) const noexcept;
  friend bool operator==(const Subnet&, const Subnet&) = default;
};

std::string to_text(const Subnet& subnet);
std::string ipv4_text(Ipv4 address);
/// Four numbers with dots; none where it is anything else. Local.
std::optional<Ipv4> parse_ipv4(std::string_view text);
/// A.B.C.D/N; host bits are dropped. Local.
std::optional<Subnet> parse_subnet(std::string_view text);
Subnet subnet_of(const Interface& interface) noexcept;

/// Whether containers and virtual machines of one host talk over an interface of that name (docker0, virbr0, cni0,
/// veth...): it leads to no other host, even where others have the same subnet. Local.
bool is_host_internal(std::string_view interface_name) noexcept;

/// Interfaces of this machine that are up and have an IPv4 address, loopback left out. Local.
std::vector<Interface> own_interfaces();

/// The IPv4 addresses of a name; empty where it does not resolve. Local.
std::vector<Ipv4> resolve(const std::string& name);

/// The subnet of this machine that every other host has an address in; the first where there are several, interfaces
/// that lead out of the host before the others. None where there is no such subnet (hosts behind routers). Local.
std::optional<Subnet> common_subnet(const std::vector<Interface>& own, const std::vector<HostAddresses>& hosts);

/// The name of the interface of `own` in `subnet`; empty where there is none. Local.
std::string interface_in(const std::vector<Interface>& own, const Subnet& subnet);

/// What a user chose: `10.0.0.0/24`, or the name of an interface of this machine as NCCL_SOCKET_IFNAME and
/// btl_tcp_if_include take it (`eth0`, `=eth0`, the first of a list). None where it names neither. Local.
std::optional<Subnet> chosen_subnet(std::string_view text, const std::vector<Interface>& own);

}  // namespace dstrain
