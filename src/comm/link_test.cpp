// SPDX-License-Identifier: Apache-2.0
#include "comm/link_test.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>

#include "comm/mpi_handles.hpp"
#include "comm/network_interfaces.hpp"
#include "core/system_memory.hpp"

namespace dstrain {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int tag_of_links = 7100;
constexpr std::int64_t largest = std::int64_t{8} << 20;
constexpr double deadline_s = 5;
constexpr int round_trips = 20;

double now_s() { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); }
double wall_s() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

/// One side of a pair.
class Link {
 public:
  Link(const Topology& topology, int own_node, int peer_node, int peer_rank)
      : topology_(topology),
        first_(own_node < peer_node),
        peer_node_(peer_node),
        peer_(peer_rank),
        buffers_(std::make_unique<Buffers>()) {
    buffers_->out.assign(static_cast<std::size_t>(largest), 1);
    buffers_->in.resize(static_cast<std::size_t>(largest));
  }

  LinkMeasurement measure() {
    LinkMeasurement result;
    double best = 1e30;
    for (int i = 0; i < round_trips; ++i) {
      const double sent = wall_s();
      double theirs = wall_s();
      const double seconds = round_trip(8, &theirs);
      if (seconds >= best) continue;
      best = seconds;
      result.clock_ahead_s = theirs - (sent + seconds / 2);
    }
    result.latency_s = best / 2;
    double rate = 0;
    // Beyond any packet, beyond MPI's limit for sending at once, then as large as the link is fast.
    for (const std::int64_t bytes : {std::int64_t{1} << 10, std::int64_t{16} << 10, std::int64_t{256} << 10})
      rate = static_cast<double>(2 * bytes) / round_trip(bytes);
    constexpr double affordable_s = 0.33;
    agree(rate);
    const auto bytes = std::clamp(static_cast<std::int64_t>(rate * affordable_s), std::int64_t{256} << 10, largest);
    best = 1e30;
    for (int i = 0; i < 3; ++i) best = std::min(best, round_trip(bytes));
    result.bytes_per_s = static_cast<double>(2 * bytes) / best;
    result.bytes = bytes;
    return result;
  }

 private:
  struct Buffers {
    std::vector<char> out, in;
  };

  /// The lower side sends, the other answers with as much. Both return the seconds that it took on their side.
  double round_trip(std::int64_t bytes, double* wall = nullptr) {
    const double start = now_s();
    if (first_) {
      move(bytes, true);
      move(bytes, false);
      if (wall != nullptr) std::memcpy(wall, buffers_->in.data(), sizeof *wall);
    } else {
      move(bytes, false);
      if (wall != nullptr) *wall = wall_s();
      if (wall != nullptr) std::memcpy(buffers_->out.data(), wall, sizeof *wall);
      move(bytes, true);
    }
    arrived_ = std::max(arrived_, bytes);
    return now_s() - start;
  }

  /// Both sides go on with the first one's number.
  void agree(double& value) {
    if (first_) std::memcpy(buffers_->out.data(), &value, sizeof value);
    move(sizeof value, first_);
    if (!first_) std::memcpy(&value, buffers_->in.data(), sizeof value);
  }

  void move(std::int64_t bytes, bool send) {
    MPI_Request request = MPI_REQUEST_NULL;
    const auto n = static_cast<int>(bytes);
    if (send) {
      mpi_check(MPI_Isend(buffers_->out.data(), n, MPI_BYTE, peer_, tag_of_links, MPI_COMM_WORLD, &request),
                "MPI_Isend");
    } else {
      mpi_check(MPI_Irecv(buffers_->in.data(), n, MPI_BYTE, peer_, tag_of_links, MPI_COMM_WORLD, &request),
                "MPI_Irecv");
    }
    const double start = now_s();
    for (int done = 0;;) {
      mpi_check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
      if (done != 0) return;
      const double waited = now_s() - start;
      if (waited > deadline_s) stall(bytes);
      if (waited > 0.01) std::this_thread::yield();
    }
  }

  [[noreturn]] void stall(std::int64_t bytes) {
    static_cast<void>(buffers_.release());                              // MPI may still write there
    if (!first_) std::this_thread::sleep_for(std::chrono::seconds(2));  // the other side says it
    const auto host = [&](int rank) { return topology_.hosts[static_cast<std::size_t>(rank)]; };
    const auto what = fmt::format("a message of {} between {} and {} does not arrive in {:.0f} s", format_bytes(bytes),
                                  host(topology_.rank), host(peer_), deadline_s);
    const auto interfaces = network_interfaces();
    std::string mtus;
    for (const auto& i : interfaces) {
      if (i.up && !i.loopback && i.ipv4()) mtus += fmt::format("{}{} {}", mtus.empty() ? "" : ", ", i.name, i.mtu);
    }
    throw RefusedError(
        what, fmt::format("link of nodes {} and {}", topology_.node, peer_node_),
        arrived_ == 0
            ? std::string("the hosts do not reach each other on the network that MPI takes")
            : fmt::format(
                  "messages of {} do arrive: packets are lost for their size, so the MTU differs on the way (here: "
                  "{}); set the same on hosts and switches: ip link set dev NAME mtu 1500",
                  format_bytes(arrived_), mtus));
  }

  const Topology& topology_;
  bool first_;
  int peer_node_;
  int peer_;
  std::int64_t arrived_ = 0;
  std::unique_ptr<Buffers> buffers_;
};

std::vector<int> leaders_of(const Topology& topology) {
  std::vector<int> leaders(static_cast<std::size_t>(topology.node_count), -1);
  for (int r = topology.world_size - 1; r >= 0; --r)
    leaders[static_cast<std::size_t>(topology.node_of_rank[static_cast<std::size_t>(r)])] = r;
  return leaders;
}

}  // namespace

std::vector<std::vector<std::pair<int, int>>> link_rounds(int nodes) {
  constexpr int all_pairs_up_to = 64;
  std::vector<std::vector<std::pair<int, int>>> rounds;
  if (nodes <= all_pairs_up_to) {
    // The circle method: player 0 stays, the others turn by one each round; an odd number gets a bye.
    const int players = nodes + nodes % 2;
    for (int turn = 0; turn + 1 < players; ++turn) {
      std::vector<std::pair<int, int>> round;
      const auto at = [&](int seat) { return seat == 0 ? 0 : (seat - 1 + turn) % (players - 1) + 1; };
      for (int seat = 0; seat < players / 2; ++seat) {
        const int a = at(seat), b = at(players - 1 - seat);
        if (a < nodes && b < nodes) round.emplace_back(std::min(a, b), std::max(a, b));
      }
      rounds.push_back(std::move(round));
    }
    return rounds;
  }
  for (int distance = 1; distance < nodes; distance *= 2) {
    for (int phase = 0; phase < 2; ++phase) {  // first the even blocks with their right neighbours, then the odd ones
      std::vector<std::pair<int, int>> round;
      for (int a = 0; a + distance < nodes; ++a) {
        if (a / distance % 2 == phase) round.emplace_back(a, a + distance);
      }
      rounds.push_back(std::move(round));
    }
  }
  return rounds;
}

std::vector<LinkMeasurement> measure_links(const Topology& topology) {
  const auto leaders = leaders_of(topology);
  std::vector<LinkMeasurement> own;
  for (const auto& round : link_rounds(topology.node_count)) {
    if (topology.local_rank == 0) {
      for (const auto& [a, b] : round) {
        if (a != topology.node && b != topology.node) continue;
        const int peer = a == topology.node ? b : a;
        auto measured = Link(topology, topology.node, peer, leaders[static_cast<std::size_t>(peer)]).measure();
        measured.a = a;
        measured.b = b;
        if (a == topology.node) own.push_back(measured);
      }
    }
    // Waiting for the round's end without keeping a core busy: others on this host may be measuring.
    MPI_Request barrier = MPI_REQUEST_NULL;
    mpi_check(MPI_Ibarrier(MPI_COMM_WORLD, &barrier), "MPI_Ibarrier");
    for (int done = 0; done == 0;) {
      mpi_check(MPI_Test(&barrier, &done, MPI_STATUS_IGNORE), "MPI_Test");
      if (done == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  int count = static_cast<int>(own.size() * sizeof(LinkMeasurement));
  std::vector<int> counts(static_cast<std::size_t>(topology.world_size)), starts(counts.size(), 0);
  mpi_check(MPI_Allgather(&count, 1, MPI_INT, counts.data(), 1, MPI_INT, MPI_COMM_WORLD), "MPI_Allgather");
  for (std::size_t r = 1; r < counts.size(); ++r) starts[r] = starts[r - 1] + counts[r - 1];
  std::vector<LinkMeasurement> all(static_cast<std::size_t>(starts.back() + counts.back()) / sizeof(LinkMeasurement));
  mpi_check(
      MPI_Allgatherv(own.data(), count, MPI_BYTE, all.data(), counts.data(), starts.data(), MPI_BYTE, MPI_COMM_WORLD),
      "MPI_Allgatherv");
  std::sort(all.begin(), all.end(),
            [](const auto& x, const auto& y) { return std::pair(x.a, x.b) < std::pair(y.a, y.b); });
  return all;
}

}  // namespace dstrain
