// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/shard_file.hpp"

#include <hdf5.h>

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "io/hdf5/handles.hpp"

namespace dstrain {
namespace {

static_assert(std::endian::native == std::endian::little, "values go to and from little-endian files as they are");

}  // namespace

std::array<ShardDataset, checkpoint_kinds> lay_out_shard(const CheckpointContent& content) {
  std::array<ShardDataset, checkpoint_kinds> datasets;
  for (const auto kind : all_checkpoint_kinds()) {
    auto& dataset = datasets[static_cast<std::size_t>(kind)];
    for (const auto& slice : content[kind]) {
      if (slice.count == 0) continue;
      dataset.slabs.push_back({slice.tensor, slice.begin, slice.count, dataset.count, {}});
      dataset.count += slice.count;
    }
  }
  return datasets;
}

void create_shard(const std::filesystem::path& folder, Shard& shard) {
  const auto path = folder / shard.file;
  {
    const hdf5::Gate gate;
    auto file = hdf5::create_file(path);
    for (const auto kind : all_checkpoint_kinds()) {
      auto& dataset = shard.datasets[static_cast<std::size_t>(kind)];
      if (dataset.count == 0) continue;
      const auto handle = hdf5::create_flat(file, name_of(kind), storage_of(kind), dataset.count, path);
      const auto offset = H5Dget_offset(handle.get());
      DSTRAIN_CHECK(offset != HADDR_UNDEF, "HDF5 gave a dataset no place in {}", path.string());
      dataset.offset = static_cast<std::int64_t>(offset);
    }
    hdf5::close_file(std::move(file), path);
  }
  measure_shard(folder, shard);
}

void measure_shard(const std::filesystem::path& folder, Shard& shard) {
  const auto path = folder / shard.file;
  shard.bytes = file_bytes(open_to_read(path), path);
  shard.frame_digest = frame_digest(folder, shard);
}

std::vector<DrainPiece> pieces_of(const CheckpointContent& content, const Shard& shard, const SlabStart& start,
                                  std::int64_t piece_count) {
  std::vector<DrainPiece> pieces;
  for (const auto kind : all_checkpoint_kinds()) {
    const auto k = static_cast<std::size_t>(kind);
    auto at = shard.datasets[k].offset + start[k] * element_bytes(kind);
    for (const auto& slice : content[kind]) {
      for (std::int64_t done = 0; done < slice.count; done += piece_count) {
        const auto bytes = std::min(piece_count, slice.count - done) * element_bytes(kind);
        pieces.push_back({static_cast<const char*>(slice.data) + done * element_bytes(kind), bytes, at});
        at += bytes;
      }
    }
  }
  return pieces;
}

void check_shard_size(const std::filesystem::path& folder, const Shard& shard) {
  const auto path = folder / shard.file;
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  const char* hint = "resume from another checkpoint";
  if (error)
    throw IoError(fmt::format("a shard of this checkpoint is missing ({})", error.message()), path.string(), hint);
  if (bytes != static_cast<std::uintmax_t>(shard.bytes)) {
    throw IoError(fmt::format("has {} bytes, {} were written", bytes, shard.bytes), path.string(), hint);
  }
}

ShardReader::ShardReader(const std::filesystem::path& folder, const Shard& shard) : path_(folder / shard.file) {
  check_shard_size(folder, shard);
  if (frame_digest(folder, shard) != shard.frame_digest) {
    throw IoError("is damaged: its HDF5 structure is not what was written", path_.string(),
                  "resume from another checkpoint");
  }
  file_ = open_to_read(path_);
  for (std::size_t k = 0; k < offsets_.size(); ++k) offsets_[k] = shard.datasets[k].offset;
}

void ShardReader::read(CheckpointKind kind, std::int64_t begin, std::int64_t count, void* to) const {
  const auto size = element_bytes(kind);
  read_at(file_, offsets_[static_cast<std::size_t>(kind)] + begin * size, to, count * size, path_);
}

}  // namespace dstrain
