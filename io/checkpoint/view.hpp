// SPDX-License-Identifier: Apache-2.0
/// checkpoint.h5: the global view. Every tensor under its own name in its own shape, as virtual datasets over the
/// shards.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "io/checkpoint/manifest.hpp"
#include "io/hdf5/handles.hpp"

namespace dstrain {

/// Writes `folder`/checkpoint.h5 from the slabs of `manifest`, and fills in its view_bytes and view_digest. Local (rank
/// 0). Parameters stand at the root, moments in the groups exp_avg/ and exp_avg_sq/; `metadata` and the step are
/// attributes of the root. An element whose shard is missing reads as NaN (HDF5 gives the fill value without an error).
/// @throws IoError (exit code 1);  Error  a metadata key or text that HDF5 cannot hold
void write_view(const std::filesystem::path& folder, Manifest& manifest,
                const std::map<std::string, std::string>& metadata);

/// Gives the root of an open file the attributes of a view: format, step and `metadata`. Local, under the gate.
/// @throws IoError (exit code 1);  Error  a metadata key or text that HDF5 cannot hold
void write_root_attributes(const hdf5::File& file, std::int64_t step,
                           const std::map<std::string, std::string>& metadata, const std::filesystem::path& path);

/// The metadata that write_view() was given. Checks size and digest of the file before HDF5 sees it. Local. @throws
/// IoError
[[nodiscard]] std::map<std::string, std::string> read_view_metadata(const std::filesystem::path& folder,
                                                                    const Manifest& manifest);

/// Reads every tensor through the view and compares it with the digests of the shards: what HDF5 programs see is what
/// was written. Local; for a checkpoint whose files are sound. @throws IoError  naming the first tensor that is not
void check_view(const std::filesystem::path& folder, const Manifest& manifest);

}  // namespace dstrain
