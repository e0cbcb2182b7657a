// SPDX-License-Identifier: Apache-2.0
/// The checkpoint folders of an output_dir: their names, which one is newest, how one becomes complete and how old ones
/// go. All functions are local; those that change anything are called on rank 0.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace dstrain {

/// A complete checkpoint.
struct CheckpointFolder {
  std::int64_t step = 0;
  std::filesystem::path path;
};

/// "checkpoint-<step>"
[[nodiscard]] std::string checkpoint_name(std::int64_t step);

/// Complete checkpoints (the final name, a manifest in it) in ascending order of their steps. Unfinished ones (`.part`)
/// and checkpoints of other programs are left out. An output_dir that does not exist has none.
[[nodiscard]] std::vector<CheckpointFolder> list_checkpoints(const std::filesystem::path& output_dir);

/// The step in a folder's name, none where it is not called as a checkpoint is. Local, pure.
[[nodiscard]] std::optional<std::int64_t> checkpoint_step(const std::filesystem::path& folder);

/// Folders that dstrain wrote, by their name and their files, but which have no whole manifest.
[[nodiscard]] std::vector<std::filesystem::path> list_incomplete_checkpoints(const std::filesystem::path& output_dir);

/// The checkpoint written last: what `latest` names, unless the one of the highest step was finished after it (the
/// writer died between the two); without a usable `latest` the highest step. None where there is no complete
/// checkpoint.
[[nodiscard]] std::optional<CheckpointFolder> find_latest_checkpoint(const std::filesystem::path& output_dir);

/// Removes what interrupted writers left: folders checkpoint-<step>*.part. Never a complete checkpoint.
void remove_unfinished_checkpoints(const std::filesystem::path& output_dir);

/// Gives a finished folder its final name, in one step of the file system; a checkpoint of that name is replaced. Then
/// `latest` is made to name it. At no moment is there less than one complete checkpoint, had there been one. @throws
/// IoError (exit code 1)
void commit_checkpoint(const std::filesystem::path& part, const std::filesystem::path& final_path);

/// Removes the checkpoints of the lowest steps until `limit` are left; `keep` and `best` are never removed, so that
/// a limit of 1 may leave two. A limit below 1 removes nothing. A folder loses its name before its files, so that an
/// interruption leaves no half checkpoint.
void prune_checkpoints(const std::filesystem::path& output_dir, int limit, const std::filesystem::path& keep,
                       const std::filesystem::path& best = {});

}  // namespace dstrain
