// SPDX-License-Identifier: Apache-2.0
/// What already stands in output_dir, and what to do about it. Rank 0 only.
#pragma once

#include <filesystem>

#include "config/run_config.hpp"

namespace dstrain {

/// The checkpoint to resume from, or empty: resume_from_checkpoint a path -> that one; true -> the newest in
/// output_dir; not set -> LLaMA-Factory's rule: the newest in output_dir unless overwrite_output_dir.
///
/// Local. Makes the folder.
/// @throws ConfigError  resume is asked for and there is nothing, or a finished model would be overwritten unasked
std::filesystem::path prepare_output_folder(const RunConfig& config);

/// After `checkpoint` could not be loaded: reads it whole, logs what is damaged, and gives the newest one with fewer
/// steps to try next. Empty where it is sound (then something else is wrong) or no older one is left. Local.
std::filesystem::path older_than_damaged(const std::filesystem::path& checkpoint,
                                         const std::filesystem::path& output_dir);

}  // namespace dstrain
