// SPDX-License-Identifier: Apache-2.0
/// Which rank's slices go where in which shard, agreed before anything is written.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "io/checkpoint/content.hpp"
#include "io/checkpoint/manifest.hpp"
#include "io/checkpoint/shard_file.hpp"
#include "io/checkpoint/writers.hpp"

namespace dstrain {

/// What each rank knows of the shards.
struct CheckpointLayout {
  /// Ranks that bring anything to one shard, ascending. The first creates the file.
  std::vector<std::vector<int>> members;
  int own = -1;            ///< this rank's shard, -1 where it brings nothing
  Shard shard;             ///< that one: its name and the sizes of its datasets, no slabs
  SlabStart start{};       ///< where this rank's slices begin in them
  std::vector<Shard> all;  ///< rank 0: every shard with the slabs of its members one behind the other
  /// Rank 0: how many of a shard's slabs are a member's, by kind; [shard][member].
  std::vector<std::vector<std::array<std::size_t, checkpoint_kinds>>> slabs_of_member;

  [[nodiscard]] bool creates(int rank) const { return own >= 0 && members[static_cast<std::size_t>(own)][0] == rank; }
};

/// Checks that slices lie in their tensors and metadata can be stored. Local. @throws Error, ShapeError
void check_content(const CheckpointContent& content);

/// Lays the shards out. Collective.
/// @param node_of_rank  for CheckpointWriters::node; empty: all on one
/// @throws ShapeError on all ranks where the slices do not tile every tensor
[[nodiscard]] CheckpointLayout agree_on_layout(Communicator& comm, const CheckpointContent& content,
                                               CheckpointWriters writers, const std::vector<int>& node_of_rank);

/// The rank that creates a shard tells its other members where the datasets are. Local to the members.
void share_frame(Communicator& comm, CheckpointLayout& layout);

/// Rank 0 learns places, sizes and digests of all shards. Collective.
/// @param digests  of this rank's pieces, in the order of pieces_of()
/// @return rank 0: the shards of a manifest
[[nodiscard]] std::vector<Shard> gather_shards(Communicator& comm, const CheckpointLayout& layout,
                                               std::int64_t piece_count, const std::vector<std::string>& digests);

}  // namespace dstrain
