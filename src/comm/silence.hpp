// SPDX-License-Identifier: Apache-2.0
/// What to say about ranks that MPI started and that cannot be heard.
#pragma once

#include <string>
#include <vector>

#include "comm/network_interfaces.hpp"
#include "comm/reachability.hpp"

namespace dstrain {

/// A rank as the launcher's control channel describes it, which works where MPI's own connections do not.
struct PeerContact {
  int rank = 0;
  std::string host;                          ///< empty: the control channel knew nothing either
  std::vector<NetworkInterface> interfaces;  ///< of its host
  std::vector<Reach> reach;                  ///< of each interface's address, as seen from here; may be empty
  bool large_lost = false;                   ///< it heard small messages of a neighbour, and not the large one
};

/// This side of the silence.
struct OwnContact {
  std::string host;
  std::vector<NetworkInterface> interfaces;
  bool large_lost = false;  ///< as in PeerContact
};

/// "rank 1@node2, rank 3", the first 8.
std::string name_ranks(const std::vector<PeerContact>& peers);

/// What the probes tell and what to do about it, for the hint of the error. Pure.
std::string explain_silence(const OwnContact& own, const std::vector<PeerContact>& peers);

/// Addresses of `peers` worth a probe: up, no loopback, not an address of our own. Pure.
bool worth_probing(const OwnContact& own, const NetworkInterface& theirs);

}  // namespace dstrain
