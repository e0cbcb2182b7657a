// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/shard_file.hpp"

#include <hdf5.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "io/files/digest.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

using hdf5::checked;
using hdf5::Doing;

constexpr auto all_kinds = all_checkpoint_kinds();

/// A contiguous dataset whose place in the file is given at once, and which is not filled first.
hdf5::Dataset create_flat(const hdf5::File& file, CheckpointKind kind, std::int64_t count,
                          const std::filesystem::path& path) {
  const auto extent = static_cast<hsize_t>(count);
  const hdf5::Space space(checked(H5Screate_simple(1, &extent, nullptr), "describe", path, Doing::writing));
  const hdf5::PropertyList list(checked(H5Pcreate(H5P_DATASET_CREATE), "describe", path, Doing::writing));
  checked(H5Pset_layout(list.get(), H5D_CONTIGUOUS), "describe", path, Doing::writing);
  checked(H5Pset_alloc_time(list.get(), H5D_ALLOC_TIME_EARLY), "describe", path, Doing::writing);
  checked(H5Pset_fill_time(list.get(), H5D_FILL_TIME_NEVER), "describe", path, Doing::writing);
  return hdf5::Dataset(
      checked(H5Dcreate2(file.get(), std::string(name_of(kind)).c_str(), hdf5::file_type(storage_of(kind)), space.get(),
                         H5P_DEFAULT, list.get(), H5P_DEFAULT),
              "create a dataset in", path, Doing::writing));
}

/// Selects [begin, begin + count) of a flat dataset in the file and all of a buffer in memory.
std::pair<hdf5::Space, hdf5::Space> select_flat(const hdf5::Dataset& dataset, std::int64_t begin, std::int64_t count,
                                                const std::filesystem::path& path, Doing doing) {
  const auto start = static_cast<hsize_t>(begin);
  const auto extent = static_cast<hsize_t>(count);
  hdf5::Space in_file(checked(H5Dget_space(dataset.get()), "look into", path, doing));
  checked(H5Sselect_hyperslab(in_file.get(), H5S_SELECT_SET, &start, nullptr, &extent, nullptr), "select in", path,
          doing);
  hdf5::Space in_memory(checked(H5Screate_simple(1, &extent, nullptr), "select in", path, doing));
  return {std::move(in_file), std::move(in_memory)};
}

/// Hashes and writes one slice piece by piece, so that the bytes are still in the cache when they are written.
std::string write_slice(const hdf5::Dataset& dataset, CheckpointKind kind, std::int64_t at, const LocalSlice& slice,
                        std::int64_t piece_count, const std::filesystem::path& path) {
  std::string digests;
  for (std::int64_t done = 0; done < slice.count; done += piece_count) {
    const auto n = std::min(piece_count, slice.count - done);
    const char* data = static_cast<const char*>(slice.data) + done * element_bytes(kind);
    digests += digest_of(data, n * element_bytes(kind));
    const hdf5::Gate gate;
    const auto [in_file, in_memory] = select_flat(dataset, at + done, n, path, Doing::writing);
    checked(
        H5Dwrite(dataset.get(), hdf5::memory_type(storage_of(kind)), in_memory.get(), in_file.get(), H5P_DEFAULT, data),
        "write", path, Doing::writing);
  }
  return digests;
}

void write_datasets(const hdf5::File& file, Shard& shard, const CheckpointContent& content, std::int64_t piece_count,
                    const std::filesystem::path& path) {
  std::array<hdf5::Dataset, checkpoint_kinds> handles;
  {
    const hdf5::Gate gate;
    for (const auto kind : all_kinds) {
      auto& dataset = shard.datasets[static_cast<std::size_t>(kind)];
      if (dataset.count == 0) continue;
      auto& handle = handles[static_cast<std::size_t>(kind)];
      handle = create_flat(file, kind, dataset.count, path);
      const auto offset = H5Dget_offset(handle.get());
      DSTRAIN_CHECK(offset != HADDR_UNDEF, "HDF5 gave a dataset no place in {}", path.string());
      dataset.offset = static_cast<std::int64_t>(offset);
    }
  }
  for (const auto kind : all_kinds) {
    auto slab = shard.datasets[static_cast<std::size_t>(kind)].slabs.begin();
    for (const auto& slice : content[kind]) {
      if (slice.count == 0) continue;
      slab->digests = write_slice(handles[static_cast<std::size_t>(kind)], kind, slab->at, slice, piece_count, path);
      ++slab;
    }
  }
}

}  // namespace

std::array<ShardDataset, checkpoint_kinds> lay_out_shard(const CheckpointContent& content) {
  std::array<ShardDataset, checkpoint_kinds> datasets;
  for (const auto kind : all_kinds) {
    auto& dataset = datasets[static_cast<std::size_t>(kind)];
    for (const auto& slice : content[kind]) {
      if (slice.count == 0) continue;
      dataset.slabs.push_back({slice.tensor, slice.begin, slice.count, dataset.count, {}});
      dataset.count += slice.count;
    }
  }
  return datasets;
}

void write_shard(const std::filesystem::path& folder, Shard& shard, const CheckpointContent& content,
                 std::int64_t piece_count) {
  const auto path = folder / shard.file;
  auto file = hdf5::create_file(path);
  write_datasets(file, shard, content, piece_count, path);
  hdf5::finish_file(std::move(file), path);
  shard.bytes = file_bytes(open_to_read(path), path);
  shard.frame_digest = frame_digest(folder, shard);
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
  const hdf5::Gate gate;
  file_ = hdf5::open_file(path_);
  for (const auto kind : all_kinds) {
    const auto& expected = shard.datasets[static_cast<std::size_t>(kind)];
    if (expected.count == 0) continue;
    auto& dataset = datasets_[static_cast<std::size_t>(kind)];
    dataset.reset(checked(H5Dopen2(file_.get(), std::string(name_of(kind)).c_str(), H5P_DEFAULT), "find a dataset in",
                          path_, Doing::reading));
    const hdf5::Space space(checked(H5Dget_space(dataset.get()), "look into", path_, Doing::reading));
    if (H5Sget_simple_extent_npoints(space.get()) != expected.count ||
        H5Dget_offset(dataset.get()) != static_cast<haddr_t>(expected.offset)) {
      throw IoError(fmt::format("dataset \"{}\" is not the one that the manifest lists", name_of(kind)),
                    path_.string());
    }
  }
}

void ShardReader::read(CheckpointKind kind, std::int64_t begin, std::int64_t count, void* to) const {
  const hdf5::Gate gate;
  const auto& dataset = datasets_[static_cast<std::size_t>(kind)];
  const auto [in_file, in_memory] = select_flat(dataset, begin, count, path_, Doing::reading);
  checked(H5Dread(dataset.get(), hdf5::memory_type(storage_of(kind)), in_memory.get(), in_file.get(), H5P_DEFAULT, to),
          "read", path_, Doing::reading);
}

}  // namespace dstrain
