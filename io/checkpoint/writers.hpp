// SPDX-License-Identifier: Apache-2.0
/// Who writes a checkpoint, and what a trial of it showed.
#pragma once

#include <cstdint>

namespace dstrain {

enum class CheckpointWriters : std::uint8_t {
  rank,       ///< every rank a file of its own
  node,       ///< one file for each node, to which its ranks write
  single,     ///< one file, written by rank 0: the others send it what they have
  collective  ///< one file, written by all ranks together through parallel HDF5
};

/// Numbers of all ranks together.
struct CheckpointTrial {
  std::int64_t bytes = 0;         ///< of one checkpoint
  std::int64_t free_bytes = 0;    ///< where it would go
  double bytes_per_second = 0.0;  ///< of a sample that the writers wrote and fsynced at the same time
};

}  // namespace dstrain
