// SPDX-License-Identifier: Apache-2.0
#include "cluster/meeting/sockets.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "core/error.hpp"

namespace dstrain {
namespace {

constexpr int send_seconds = 10;

sockaddr_in address_of(Ipv4 address, int port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(static_cast<std::uint16_t>(port));
  out.sin_addr.s_addr = htonl(address);
  return out;
}

void set_option(int fd, int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof value); }

/// A peer that does not answer is given up after 5 s, before Open MPI's daemons give each other up (6 s): so the
/// message with the node's number comes first. The user timeout counts for idle connections too.
void watch_peer(int fd) {
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 2);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 5000);
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

/// Inodes of the sockets that listen on `port`, from the tables in /proc/net.
std::set<std::string> listening_inodes(int port) {
  std::set<std::string> inodes;
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream file(table);
    std::string line;
    std::getline(file, line);
    while (std::getline(file, line)) {
      char local[80] = {}, state[8] = {}, inode[24] = {};
      if (std::sscanf(line.c_str(), "%*s %79s %*s %7s %*s %*s %*s %*s %*s %23s", local, state, inode) != 3) continue;
      const char* colon = std::strrchr(local, ':');
      if (colon == nullptr || std::string_view(state) != "0A") continue;
      if (std::strtol(colon + 1, nullptr, 16) == port) inodes.insert(fmt::format("socket:[{}]", inode));
    }
  }
  return inodes;
}

bool holds_one_of(const std::filesystem::path& process, const std::set<std::string>& inodes) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(process / "fd", error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code unreadable;
    if (inodes.contains(std::filesystem::read_symlink(entry->path(), unreadable).string())) return true;
  }
  return false;
}

sockaddr_un local_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw IoError("the path of a socket is too long", path);
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

[[noreturn]] void refuse_port(int port, int problem) {
  const std::string owner = owner_of_port(port);
  const std::string who = owner.empty() ? "" : fmt::format(": {} has it", owner);
  throw RefusedError(problem == EADDRINUSE ? fmt::format("port {} is taken{}", port, who)
                                           : fmt::format("cannot listen on port {}: {}", port, std::strerror(problem)),
                     "meeting", "give all nodes another one: --master_port, or MASTER_PORT");
}

}  // namespace

Descriptor listen_on(int port) {
  Descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  set_option(listener.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  const auto address = address_of(INADDR_ANY, port);
  if (bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener.get(), 128) != 0) {
    refuse_port(port, errno);
  }
  return listener;
}

Descriptor accept_one(const Descriptor& listener, std::string& address) {
  sockaddr_in peer{};
  socklen_t size = sizeof peer;
  Descriptor connection(
      accept4(listener.get(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!connection) return connection;
  watch_peer(connection.get());
  address = ipv4_text(ntohl(peer.sin_addr.s_addr));
  return connection;
}

std::string own_address_of(const Descriptor& connection) {
  sockaddr_in own{};
  socklen_t size = sizeof own;
  if (getsockname(connection.get(), reinterpret_cast<sockaddr*>(&own), &size) != 0 || own.sin_family != AF_INET)
    return {};
  return ipv4_text(ntohl(own.sin_addr.s_addr));
}

Connected connect_to(const std::string& host, int port, double seconds) {
  const auto addresses = resolve(host);
  if (addresses.empty()) return {Descriptor(), "the name is not known here"};
  std::string problem;
  for (const Ipv4 address : addresses) {
    Descriptor connection(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const auto to = address_of(address, port);
    int result = connect(connection.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 ? 0 : errno;
    if (result == EINPROGRESS) {
      pollfd waiting{connection.get(), POLLOUT, 0};
      socklen_t size = sizeof result;
      if (poll(&waiting, 1, static_cast<int>(seconds * 1000)) <= 0) {
        result = ETIMEDOUT;
      } else {
        getsockopt(connection.get(), SOL_SOCKET, SO_ERROR, &result, &size);
      }
    }
    if (result == 0) {
      watch_peer(connection.get());
      return {std::move(connection), {}};
    }
    problem = fmt::format("{}{}", std::strerror(result), host == ipv4_text(address) ? "" : " at " + ipv4_text(address));
  }
  return {Descriptor(), problem};
}

bool send_all(const Descriptor& connection, std::string_view bytes) noexcept {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(send_seconds);
  while (!bytes.empty()) {
    const auto sent = send(connection.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
      continue;
    }
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) return false;
    if (std::chrono::steady_clock::now() > deadline) return false;
    pollfd waiting{connection.get(), POLLOUT, 0};
    poll(&waiting, 1, 200);
  }
  return true;
}

std::optional<std::string> receive_some(const Descriptor& connection) {
  std::string bytes(16384, '\0');
  const auto got = recv(connection.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return std::nullopt;
  bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return bytes;
}

std::string owner_of_port(int port) {
  const auto inodes = listening_inodes(port);
  if (inodes.empty()) return {};
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc", error), end; !error && entry != end; entry.increment(error)) {
    const std::string pid = entry->path().filename().string();
    if (pid.find_first_not_of("0123456789") != std::string::npos || !holds_one_of(entry->path(), inodes)) continue;
    std::string name;
    std::getline(std::ifstream(entry->path() / "comm"), name);
    return fmt::format("{} (pid {})", name, pid);
  }
  return {};
}

Descriptor listen_at(const std::string& path) {
  Descriptor listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto address = local_address(path);
  if (bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener.get(), 128) != 0) {
    throw IoError(fmt::format("cannot listen: {}", std::strerror(errno)), path).with_code(ExitCode::failed);
  }
  return listener;
}

Descriptor connect_at(const std::string& path) {
  Descriptor connection(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = local_address(path);
  if (connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw IoError(fmt::format("cannot connect: {}", std::strerror(errno)), path).with_code(ExitCode::failed);
  return connection;
}

}  // namespace dstrain
