// SPDX-License-Identifier: Apache-2.0
/// Writing a checkpoint: every rank its shard, then one rename.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "comm/communicator.hpp"
#include "io/checkpoint/content.hpp"
#include "io/checkpoint/layout.hpp"

namespace dstrain {

struct CheckpointOptions {
  std::optional<int> save_total_limit = {};  ///< HF's key: older checkpoints beyond it are removed afterwards
  std::int64_t piece_count = 1024 * 1024;    ///< elements under one digest: the least that is verified when reading
  std::filesystem::path best = {};           ///< a checkpoint that is never removed; empty: none
  CheckpointWriters writers = CheckpointWriters::rank;
  std::vector<int> node_of_rank = {};  ///< for CheckpointWriters::node; empty: all ranks on one
  double patience_s = 1800.0;          ///< a disk that takes nothing for so long counts as hung; 0: never
};

/// Writes `output_dir`/checkpoint-<step> and makes `latest` name it.
///
/// Collective. Each rank that brings anything writes it into a shard in checkpoint-<step>.part on a file system
/// that all ranks share (which is checked; not asked for where CheckpointWriters::single writes); when all are on the
/// disk, rank 0 adds checkpoint.h5 and the manifest and renames. Needs no memory of size. Killed at any moment, the
/// checkpoints that were complete stay so. `content.slices` of all ranks together tile every parameter once, and each
/// tensor's moments once or not at all; where they do not, nothing is written.
/// @return the folder, on all ranks
/// @throws IoError (exit code 1) on all ranks, e.g. too little free space; ShapeError/Error for slices that do not
/// tile. The unfinished folder is removed.
std::filesystem::path write_checkpoint(Communicator& comm, const std::filesystem::path& output_dir, std::int64_t step,
                                       const CheckpointContent& content, const CheckpointOptions& options = {});

}  // namespace dstrain
