// SPDX-License-Identifier: Apache-2.0
/// One shard of a checkpoint: an HDF5 file with a flat dataset per kind, written by one rank.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>

#include "io/checkpoint/content.hpp"
#include "io/checkpoint/manifest.hpp"
#include "io/hdf5/handles.hpp"

namespace dstrain {

/// The slabs that a rank's slices become, without digests and offsets: the slices one behind the other, empty ones
/// dropped. Local, pure.
[[nodiscard]] std::array<ShardDataset, checkpoint_kinds> lay_out_shard(const CheckpointContent& content);

/// Writes `folder`/`shard.file` from the slices that `shard.datasets` was laid out from, and fills in the digests,
/// offsets, size and frame digest. Local; needs no memory of size. The file is on the disk on return.
/// @throws IoError (exit code 1)
void write_shard(const std::filesystem::path& folder, Shard& shard, const CheckpointContent& content,
                 std::int64_t piece_count);

/// An open shard. Its datasets were compared with the manifest.
class ShardReader {
 public:
  /// Checks size and frame digest before HDF5 sees the file, then that the datasets are where the manifest says. Local.
  /// @throws IoError  naming the file
  ShardReader(const std::filesystem::path& folder, const Shard& shard);

  /// Elements [begin, begin + count) of a kind's dataset. Local. @throws IoError
  void read(CheckpointKind kind, std::int64_t begin, std::int64_t count, void* to) const;

 private:
  std::filesystem::path path_;
  hdf5::File file_;
  std::array<hdf5::Dataset, checkpoint_kinds> datasets_;
};

/// Checks that a shard is there with the size that the manifest gives. Local. @throws IoError naming the file
void check_shard_size(const std::filesystem::path& folder, const Shard& shard);

}  // namespace dstrain
