// SPDX-License-Identifier: Apache-2.0
/// One shard of a checkpoint: an HDF5 file with a flat dataset per kind. HDF5 makes the file; values are written and
/// read at their places by plain calls, which need no gate.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "io/checkpoint/content.hpp"
#include "io/checkpoint/drain.hpp"
#include "io/checkpoint/manifest.hpp"
#include "io/files/file.hpp"

namespace dstrain {

/// The slabs that a rank's slices become, without digests and offsets: the slices one behind the other, empty ones
/// dropped. Local, pure.
[[nodiscard]] std::array<ShardDataset, checkpoint_kinds> lay_out_shard(const CheckpointContent& content);

/// Creates `folder`/`shard.file`: an HDF5 file whose datasets have their places but no values yet. Fills in offsets,
/// size and frame digest; nothing of that changes when the values are written. Local; does not wait for the disk.
/// @throws IoError (exit code 1)
void create_shard(const std::filesystem::path& folder, Shard& shard);

/// Fills in size and frame digest of a shard whose file is there. Local. @throws IoError
void measure_shard(const std::filesystem::path& folder, Shard& shard);

/// Element of each of a shard's datasets where a rank's slices begin.
using SlabStart = std::array<std::int64_t, checkpoint_kinds>;

/// What a rank writes into a created shard, in the order of its slices: a piece for each digest. Local, pure.
[[nodiscard]] std::vector<DrainPiece> pieces_of(const CheckpointContent& content, const Shard& shard,
                                                const SlabStart& start, std::int64_t piece_count);

/// An open shard. Read with plain calls at the places that the manifest gives: HDF5 never sees a file that comes from
/// elsewhere.
class ShardReader {
 public:
  /// Checks size and frame digest. Local. @throws IoError  naming the file
  ShardReader(const std::filesystem::path& folder, const Shard& shard);

  /// Elements [begin, begin + count) of a kind's dataset. Local. @throws IoError
  void read(CheckpointKind kind, std::int64_t begin, std::int64_t count, void* to) const;

 private:
  std::filesystem::path path_;
  FileDescriptor file_;
  std::array<std::int64_t, checkpoint_kinds> offsets_{};
};

/// Checks that a shard is there with the size that the manifest gives. Local. @throws IoError naming the file
void check_shard_size(const std::filesystem::path& folder, const Shard& shard);

}  // namespace dstrain
