// SPDX-License-Identifier: Apache-2.0
#include "comm/reachability.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace dstrain {
namespace {

Reach reach_of(int error) {
  // These come from the way there; anything else (refused, reset) was said by the host itself.
  const bool no_way = error == EHOSTUNREACH || error == ENETUNREACH || error == ENETDOWN || error == EADDRNOTAVAIL ||
                      error == EAFNOSUPPORT || error == EINVAL;
  return no_way ? Reach::unreachable : error == ETIMEDOUT ? Reach::silent : Reach::answers;
}

struct Knock {
  int socket = -1;
  bool waiting = false;
  Reach result = Reach::unreachable;
};

Knock knock(const std::string& address, std::uint16_t port) {
  sockaddr_storage storage{};
  socklen_t length = 0;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  if (inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    length = sizeof *v4;
  } else if (inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    length = sizeof *v6;
  } else {
    return {};
  }
  Knock one;
  one.socket = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (one.socket < 0) return one;
  if (connect(one.socket, reinterpret_cast<sockaddr*>(&storage), length) == 0) {
    one.result = Reach::answers;
  } else if (errno == EINPROGRESS) {
    one.waiting = true;
    one.result = Reach::silent;
  } else {
    one.result = reach_of(errno);
  }
  return one;
}

void settle(Knock& one) {
  int error = 0;
  socklen_t length = sizeof error;
  getsockopt(one.socket, SOL_SOCKET, SO_ERROR, &error, &length);
  one.waiting = false;
  one.result = error == 0 ? Reach::answers : reach_of(error);
}

}  // namespace

std::vector<Reach> probe_addresses(const std::vector<std::string>& addresses, std::uint16_t port, double timeout_s) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(timeout_s);
  std::vector<Knock> knocks;
  for (const auto& address : addresses) knocks.push_back(knock(address, port));
  while (std::any_of(knocks.begin(), knocks.end(), [](const auto& k) { return k.waiting; })) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0) break;
    std::vector<pollfd> polled;
    for (const auto& k : knocks) polled.push_back({k.waiting ? k.socket : -1, POLLOUT, 0});
    if (poll(polled.data(), polled.size(), static_cast<int>(left)) <= 0) continue;
    for (std::size_t i = 0; i < knocks.size(); ++i) {
      if (knocks[i].waiting && polled[i].revents != 0) settle(knocks[i]);
    }
  }
  std::vector<Reach> result;
  for (const auto& k : knocks) {
    result.push_back(k.result);
    if (k.socket >= 0) close(k.socket);
  }
  return result;
}

}  // namespace dstrain
