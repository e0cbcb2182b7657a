// SPDX-License-Identifier: Apache-2.0
/// TCP for a meeting: every wait is bounded, and a peer that vanished is noticed in seconds.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cluster/launch/child.hpp"
#include "cluster/launch/network.hpp"

namespace dstrain {

/// Listens on `port` of every IPv4 address of this machine. Local.
/// @throws RefusedError  the port is taken, with the program that has it where that can be told
Descriptor listen_on(int port);

/// The next visitor; no descriptor where there is none. @param[out] address  the visitor's
Descriptor accept_one(const Descriptor& listener, std::string& address);

/// This machine's address of a connection. Local.
std::string own_address_of(const Descriptor& connection);

/// @return a connection, or why there is none: in words of the system
struct Connected {
  Descriptor connection;
  std::string problem;
};
Connected connect_to(const std::string& host, int port, double seconds);

/// Sends all of `bytes`, waiting at most 10 s where the peer does not take them. Local.
/// @return false where it cannot be sent
bool send_all(const Descriptor& connection, std::string_view bytes) noexcept;

/// What has come, without waiting: none where nothing has, "" where the peer is gone.
std::optional<std::string> receive_some(const Descriptor& connection);

/// "python3 (pid 123)": the process that listens on `port` of this machine; empty where it cannot be told. Local.
std::string owner_of_port(int port);

/// A socket in the file system, for processes of this user alone. @throws IoError
Descriptor listen_at(const std::string& path);
Descriptor connect_at(const std::string& path);

}  // namespace dstrain
