// SPDX-License-Identifier: Apache-2.0
/// A checkpoint as one plain HDF5 file: for other programs, for mail, for the archive.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

namespace dstrain {

struct PackResult {
  std::int64_t tensors = 0;  ///< datasets written, those of optimizer states included
  std::int64_t bytes = 0;    ///< of the file
};

/// Writes every tensor of the checkpoint in `folder` to `file`: the names, shapes, groups and attributes of
/// checkpoint.h5, but contiguous datasets instead of virtual ones. Every digest is compared on the way. Local; holds
/// one piece in memory. The file appears under its name when it is whole and on the disk.
/// @param progress  called now and then with bytes done and bytes in all; may be empty
/// @throws ConfigError  `file` is there already; IoError  damage (nothing is left behind), or the file cannot be
/// written (exit code 1)
PackResult pack_checkpoint(const std::filesystem::path& folder, const std::filesystem::path& file,
                           const std::function<void(std::int64_t, std::int64_t)>& progress = {});

}  // namespace dstrain
