// SPDX-License-Identifier: Apache-2.0
/// Who has come to a meeting and who is missing. No sockets: the rules alone.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cluster/meeting/protocol.hpp"
#include "cluster/selection.hpp"

namespace dstrain {

/// A node that has the token, and where it connects from.
struct Guest {
  NodeCard card;
  std::string address;  ///< IPv4, as the host sees it
};

class Guests {
 public:
  /// @param own  the host's card: node 0
  explicit Guests(NodeCard own);

  enum class Verdict {
    welcome,
    returned,   ///< the same node again: what it was before is to be forgotten
    refused,    ///< this node cannot take part; the others still may
    duplicate,  ///< two nodes have one number: the meeting cannot succeed
  };

  struct Answer {
    Verdict verdict = Verdict::welcome;
    std::size_t seat = 0;  ///< welcome, returned: the guest's index in all()
    std::string reason;    ///< refused, duplicate
  };

  Answer add(const NodeCard& card, const std::string& address);
  /// The guest at `seat` has left before the start.
  void remove(std::size_t seat);
  [[nodiscard]] bool is_complete() const;
  /// "node 1 and node 3 are missing; here are node 0 (a), node 2 (b 10.0.0.2)"
  [[nodiscard]] std::string report() const;

  /// Gives free numbers to those that announced none, in the order of their names, and numbers everybody. Call once,
  /// when complete.
  void assign_numbers();
  /// By seat; empty where somebody left. Seat 0 is the host itself, its address empty.
  [[nodiscard]] const std::vector<std::optional<Guest>>& all() const noexcept { return guests_; }

 private:
  int nodes_;
  std::vector<std::optional<Guest>> guests_;
};

/// Where the ranks of a complete meeting go. Nodes that share a machine and its network become one host: Open MPI knows
/// hosts by their addresses.
struct SeatedRanks {
  Placement placement;                            ///< named by address; the host's own first
  std::vector<std::optional<std::size_t>> seats;  ///< of each host of the placement; none: the host of the meeting
};

/// @param own_address  by which the others know the host; empty where all are on one machine
SeatedRanks seat_ranks(const Guests& guests, const std::string& own_address);

/// "node 2 (worker-2 10.0.0.2)"
std::string describe(const Guest& guest);

}  // namespace dstrain
