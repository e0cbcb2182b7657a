// SPDX-License-Identifier: Apache-2.0
/// The axes along which ranks share the work: pipeline, data, context and tensor parallel.
#pragma once

#include "comm/communicator.hpp"

namespace dstrain {

/// Sizes of the axes. Their product is the number of ranks.
struct MeshShape {
  int pp = 1;  ///< pipeline_parallel_size
  int dp = 1;  ///< data parallel
  int cp = 1;  ///< context_parallel_size
  int tp = 1;  ///< tensor_parallel_size
};

/// A rank's place on each axis. The last axis (tp) varies fastest: its ranks talk most and should be neighbours.
struct MeshPlace {
  int pp = 0, dp = 0, cp = 0, tp = 0;
};

/// Pure arithmetic; `rank` in [0, pp * dp * cp * tp).
MeshPlace place_of(int rank, const MeshShape& shape);
int rank_of(const MeshPlace& place, const MeshShape& shape);

/// The mesh of a job. Today dp is the number of ranks and every other axis is 1.
class Mesh {
 public:
  /// @param world  of all ranks; must outlive the mesh
  /// @throws ConfigError  an axis other than dp is not 1, naming its key
  Mesh(Communicator& world, const MeshShape& others);

  [[nodiscard]] const MeshShape& shape() const noexcept { return shape_; }
  [[nodiscard]] const MeshPlace& place() const noexcept { return place_; }
  [[nodiscard]] Communicator& world() const noexcept { return world_; }
  /// The dp x cp ranks that hold the same part of the model: those that ZeRO shards over.
  [[nodiscard]] Communicator& sharding_group() const noexcept { return world_; }

 private:
  Communicator& world_;
  MeshShape shape_;
  MeshPlace place_;
};

}  // namespace dstrain
