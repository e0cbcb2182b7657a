// SPDX-License-Identifier: Apache-2.0
/// Whether hosts answer at given addresses, asked by opening TCP connections.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dstrain {

enum class Reach : std::uint8_t {
  answers,     ///< the host accepted or refused the connection: it is there
  silent,      ///< nothing came back in time: a dead link or a firewall that drops
  unreachable  ///< the network said that there is no way
};

/// Knocks at all addresses (IPv4 or IPv6 literals) at once and waits at most `timeout_s`. Local.
/// A host without a listener at `port` answers too, by refusing.
std::vector<Reach> probe_addresses(const std::vector<std::string>& addresses, std::uint16_t port, double timeout_s);

}  // namespace dstrain
