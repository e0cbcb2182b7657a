// SPDX-License-Identifier: Apache-2.0
/// What `dstrain inspect` does besides showing a table.
#pragma once

#include <filesystem>

#include "core/error.hpp"

namespace dstrain::commands {

/// --verify: every digest, then every tensor through the view. @return failed where anything is damaged
ExitCode verify_and_print(const std::filesystem::path& folder, bool json);

/// --pack: one plain HDF5 file.
ExitCode pack_and_print(const std::filesystem::path& folder, const std::filesystem::path& file, bool json);

/// --diff: two checkpoints, tensor by tensor. @return failed where anything is different
/// @param tensors_only  step and metadata may differ
ExitCode diff_and_print(const std::filesystem::path& a, const std::filesystem::path& b, bool tensors_only, bool json);

}  // namespace dstrain::commands
