// SPDX-License-Identifier: Apache-2.0
#include "support/emulated/operation_log.hpp"

#include <algorithm>
#include <map>

namespace dstrain {

namespace {

using Clock = std::vector<std::int64_t>;

void take_in(Clock& clock, const Clock& other) {
  for (std::size_t i = 0; i < other.size(); ++i) clock[i] = std::max(clock[i], other[i]);
}

bool meet(const Operation::Access& a, const Operation::Access& b) {
  const auto* first = static_cast<const char*>(a.at);
  const auto* second = static_cast<const char*>(b.at);
  return (a.write || b.write) && first < second + b.bytes && second < first + a.bytes;
}

bool conflict(const Operation& a, const Operation& b) {
  return std::any_of(a.accesses.begin(), a.accesses.end(), [&](const auto& x) {
    return std::any_of(b.accesses.begin(), b.accesses.end(), [&](const auto& y) { return meet(x, y); });
  });
}

}  // namespace

void Operation::touch(const void* at, bool write) {
  if (at != nullptr) accesses.push_back({at, 1, write});
}

bool OrderedWork::beside(const OrderedWork& other) const noexcept {
  return stream != other.stream && seen[other.stream] < other.seen[other.stream] && other.seen[stream] < seen[stream];
}

std::vector<OrderedWork> order_of(const std::vector<Operation>& log) {
  std::map<const void*, std::size_t> streams;
  for (const Operation& operation : log) streams.emplace(operation.stream, streams.size());
  std::vector<Clock> clocks(streams.size(), Clock(streams.size(), 0));
  Clock host(streams.size(), 0);
  std::map<const void*, Clock> events;
  std::vector<OrderedWork> works;
  for (std::size_t i = 0; i < log.size(); ++i) {
    const std::size_t stream = streams[log[i].stream];
    Clock& clock = clocks[stream];
    switch (log[i].kind) {
      case Operation::Kind::work:
        take_in(clock, host);  // the host had waited before it gave the work
        ++clock[stream];
        works.push_back({i, stream, clock});
        break;
      case Operation::Kind::record:
        events[log[i].event] = clock;
        break;
      case Operation::Kind::wait:
        if (const auto at = events.find(log[i].event); at != events.end()) take_in(clock, at->second);
        break;
      case Operation::Kind::synchronize:
        if (log[i].event == nullptr) {
          take_in(host, clock);
        } else if (const auto at = events.find(log[i].event); at != events.end()) {
          take_in(host, at->second);
        }
        break;
    }
  }
  return works;
}

std::vector<std::string> races_in(const std::vector<Operation>& log) {
  const auto works = order_of(log);
  std::vector<std::string> races;
  for (std::size_t b = 0; b < works.size(); ++b) {
    for (std::size_t a = 0; a < b; ++a) {
      if (works[a].stream == works[b].stream || !works[a].beside(works[b])) continue;
      const Operation& first = log[works[a].operation];
      const Operation& second = log[works[b].operation];
      if (!conflict(first, second)) continue;
      races.push_back("#" + std::to_string(works[a].operation) + " " + first.name + " (stream " +
                      std::to_string(works[a].stream) + ") and #" + std::to_string(works[b].operation) + " " +
                      second.name + " (stream " + std::to_string(works[b].stream) + ")");
    }
  }
  return races;
}

}  // namespace dstrain
