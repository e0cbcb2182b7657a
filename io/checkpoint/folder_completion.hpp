// SPDX-License-Identifier: Apache-2.0
/// The life of an unfinished checkpoint's folder: made, seen by all, completed and renamed.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "io/checkpoint/manifest.hpp"
#include "io/checkpoint/write.hpp"

namespace dstrain {

/// What rank 0 writes into a new folder and the other ranks must find there. Local.
[[nodiscard]] std::string folder_word();

/// Runs `step`. While writing, a file that cannot be read is no wrong input but a run that failed: an IoError leaves
/// with ExitCode::failed. Local.
void as_failure(const std::function<void()>& step);

/// Removes leftovers of earlier runs, refuses a full disk and creates the folder with `word` in it. Local, rank 0.
/// @throws IoError  with ExitCode::failed where the disk is too small for `shards`
void prepare_folder(const std::filesystem::path& part, const std::vector<Shard>& shards, const std::string& word);

/// Local. @throws IoError  with ExitCode::failed: this rank does not see the folder that rank 0 made
void check_folder_is_shared(const std::filesystem::path& part, const std::string& word);

/// Makes a folder of shards a checkpoint, in a thread: what was written beside the shards comes under the manifest, the
/// view and the manifest are written, the folder is renamed, older checkpoints go. Local, rank 0.
class FolderCompletion {
 public:
  /// Starts at once. @param manifest  all of it but `files` and what the view adds
  FolderCompletion(std::filesystem::path part, std::filesystem::path final_path, Manifest manifest,
                   CheckpointOptions options);
  FolderCompletion(const FolderCompletion&) = delete;
  FolderCompletion& operator=(const FolderCompletion&) = delete;
  /// As end().
  ~FolderCompletion();

  [[nodiscard]] bool over() const;
  /// It takes longer than CheckpointOptions::patience_s.
  [[nodiscard]] bool hung() const;
  /// Waits until it is over, at most 200 ms.
  void wait_a_little() const;
  /// Waits until it is over; a thread that hangs is left behind.
  void end();
  /// Once, after end(). @throws IoError  what went wrong, or that it hangs; with ExitCode::failed
  void check();

 private:
  struct Job;
  std::shared_ptr<Job> job_;  ///< the thread shares it, so that one that hangs can be left behind
  std::thread thread_;
};

}  // namespace dstrain
