// SPDX-License-Identifier: Apache-2.0
/// How fast the hosts of a job reach each other, pair by pair.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "comm/topology.hpp"

namespace dstrain {

/// What one pair of hosts measured; `a` < `b` are numbers of nodes.
struct LinkMeasurement {
  std::int32_t a = 0, b = 0;
  double latency_s = 0;      ///< one way, half of the best round trip of 8 bytes
  double bytes_per_s = 0;    ///< large messages, one way at a time, the best of a few
  std::int64_t bytes = 0;    ///< of the largest message
  double clock_ahead_s = 0;  ///< of b's clock before a's, taken from the best round trip

  friend bool operator==(const LinkMeasurement&, const LinkMeasurement&) = default;
};

/// The pairs that talk at the same time, round by round: every pair once up to 64 nodes (a round-robin tournament),
/// above that the pairs at distances 1, 2, 4, ... No node stands twice in a round. Pure.
std::vector<std::vector<std::pair<int, int>>> link_rounds(int nodes);

/// Measures all pairs of link_rounds(), the lowest rank of each node for its node. The result is on all ranks.
///
/// Collective over all ranks of the job. Messages grow from 8 bytes to 8 MiB, or to what passes in a third of a second
/// on a slow link. Buffers are taken and given back here.
/// @throws RefusedError  on the ranks of a pair where a message does not arrive in 5 s: which size of message, and what
///                       did arrive. The job must be ended then; others are still waiting.
std::vector<LinkMeasurement> measure_links(const Topology& topology);

}  // namespace dstrain
