// SPDX-License-Identifier: Apache-2.0
/// manifest.json: every file of a checkpoint with its size, every slab with its place and digests.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/checkpoint/content.hpp"

namespace dstrain {

inline constexpr std::int64_t checkpoint_format = 2;
inline constexpr std::int64_t max_piece_count = 64 * 1024 * 1024;  ///< a reader keeps one piece in memory
inline constexpr const char* manifest_name = "manifest.json";
inline constexpr const char* manifest_digest_name = "manifest.xxh128";  ///< in the form that `xxhsum -c` reads
inline constexpr const char* view_name = "checkpoint.h5";

/// A flat range of one tensor that lies in one shard.
struct Slab {
  std::int32_t tensor = 0;
  std::int64_t begin = 0;  ///< in the tensor
  std::int64_t count = 0;
  std::int64_t at = 0;  ///< element in the shard's dataset where it begins
  std::string digests;  ///< of each run of piece_count elements (the last may be shorter), one after another
};

/// The slabs of one kind in one shard: one flat dataset.
struct ShardDataset {
  std::int64_t offset = 0;  ///< bytes from the start of the file
  std::int64_t count = 0;   ///< elements
  std::vector<Slab> slabs;  ///< ascending by `at`
};

/// One shard file.
struct Shard {
  std::string file;
  std::int64_t bytes = 0;
  std::string frame_digest;  ///< of all bytes that lie in no dataset (HDF5's own), in file order
  std::array<ShardDataset, checkpoint_kinds> datasets;
};

/// A file that stands beside the shards (an adapter for other programs).
struct ExtraFile {
  std::string name;
  std::int64_t bytes = 0;
  std::string digest;
};

struct Manifest {
  std::int64_t step = 0;
  std::int64_t piece_count = 0;  ///< elements under one digest
  std::int64_t view_bytes = 0;
  std::string view_digest;  ///< of checkpoint.h5
  std::vector<TensorInfo> tensors;
  std::vector<Shard> shards;
  std::vector<ExtraFile> files = {};
  std::map<std::string, std::string> metadata = {};  ///< also the view's attributes; what is read back is this
};

/// Where a flat range of a tensor lies.
struct SlabPlace {
  std::int32_t shard = 0;
  std::int32_t slab = 0;  ///< index in that shard's dataset of the kind
};

/// For one kind and each tensor its slabs in ascending order; empty where the kind is absent for that tensor. Local.
/// @throws IoError  naming the tensor whose slabs leave a hole or overlap, or a parameter that is absent
[[nodiscard]] std::vector<std::vector<SlabPlace>> places_of(const Manifest& manifest, CheckpointKind kind,
                                                            const std::string& where);

/// Name of shard `index` (from 0) of `count`: "shard-00001-of-00004.h5".
[[nodiscard]] std::string shard_name(std::size_t index, std::size_t count);

/// One line per slab, so that two manifests can be compared by eye and by diff. Local.
[[nodiscard]] std::string manifest_text(const Manifest& manifest);

/// Reads a manifest without trust: every number is bounded and agrees with the others. Local.
/// @throws IoError  naming `where` and what is wrong
[[nodiscard]] Manifest parse_manifest(std::string_view text, const std::string& where);

/// Compares checkpoint.h5 and the extra files with the manifest. Local. @throws IoError naming the file
void check_view_file(const std::filesystem::path& folder, const Manifest& manifest);
void check_extra_file(const std::filesystem::path& folder, const ExtraFile& file);

/// The bytes of a shard outside its datasets as [begin, end) ranges, in file order. Local.
[[nodiscard]] std::vector<std::array<std::int64_t, 2>> frame_ranges(const Shard& shard);

/// Digest of those bytes, read from `folder`. Local. @throws IoError
[[nodiscard]] std::string frame_digest(const std::filesystem::path& folder, const Shard& shard);

}  // namespace dstrain
