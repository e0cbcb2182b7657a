// SPDX-License-Identifier: Apache-2.0
/// Whether ranks that should hold the same bits do: silent data corruption, and the rank it happened on.
#pragma once

#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "zero/zero_store.hpp"

namespace dstrain {

/// Ranks whose digest is not that of the most ranks.
struct OddRanks {
  std::vector<int> ranks;  ///< all ranks where there is no majority
  bool majority = false;   ///< more than half of all ranks agree, so that `ranks` are the wrong ones
};

/// Local, pure. @param digests  of every rank
OddRanks find_odd_ranks(const std::vector<std::string>& digests);

/// Compares what every rank keeps whole (ZeroStore::for_each_replica): weights at stages 0 to 2, at stage 0 the
/// optimizer too, at stage 3 only parts that are not sharded. Collective; one pass over that memory, 16 bytes between
/// ranks while all is well.
/// @param device  where the store keeps them
/// @return what is wrong, naming ranks and units, the same on all ranks; empty: nothing
std::string compare_replicas(Communicator& comm, const ModelLayout& layout, const ZeroStore& store, Device device);

}  // namespace dstrain
