// SPDX-License-Identifier: Apache-2.0
/// Checkpoints that are written while training goes on.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "io/checkpoint/drain.hpp"
#include "io/checkpoint/folder_completion.hpp"
#include "io/checkpoint/layout.hpp"
#include "io/checkpoint/write.hpp"

namespace dstrain {

/// Where a rank stands with the checkpoint in flight; the largest of all ranks says what comes next.
enum class SaveState : std::int32_t {
  settled = 0,  ///< nothing is in flight, or this rank has done its part
  running = 1,
  failed = 2
};

/// Writes one checkpoint at a time, in two phases that run in threads: every rank drains its shard; when all are on the
/// disk and the digests agreed, rank 0 completes the folder and renames it. Between them, and at the end, the ranks
/// meet in advance(), which the caller calls at step boundaries.
///
/// An error on any rank ends it for all: the unfinished folder is removed, earlier checkpoints stay as they are.
class CheckpointWriter {
 public:
  /// Local. @param copies  for ShardDrain::secure(); outlives the writer
  CheckpointWriter(Communicator& comm, View copies) : comm_(comm), copies_(copies) {}
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;
  /// Stops the threads. What was in flight stays unfinished; the next writer removes it. Never communicates.
  ~CheckpointWriter();

  /// Begins a checkpoint; one in flight is finished before. Collective.
  /// @param content  its memory is read until secure(); metadata of rank 0
  /// @param beside   writes further files into the unfinished folder; may be empty. Collective
  /// @throws as write_checkpoint()
  void begin(const std::filesystem::path& output_dir, std::int64_t step, const CheckpointContent& content,
             const CheckpointOptions& options,
             const std::function<void(const std::filesystem::path& part)>& beside = {});

  /// Before this rank's state changes. Local; waits where more is left than the copies hold.
  void secure();

  /// Local; never waits.
  [[nodiscard]] SaveState state() const;

  /// Takes the next step where it is due. Collective. @param largest  state() of the rank that has the largest
  /// @throws AgreedError  it failed on some rank
  void advance(SaveState largest);

  /// Waits until nothing is in flight. Collective. @throws as advance()
  void finish();

  [[nodiscard]] bool in_flight() const noexcept { return phase_ != Phase::idle; }

 private:
  enum class Phase : std::uint8_t { idle, draining, completing };

  void refuse_moved_folder(const std::filesystem::path& output_dir);
  void write_shards(const CheckpointContent& content, const CheckpointOptions& options);
  void complete();
  void wait_for_own();
  [[noreturn]] void give_up();
  void remove_unfinished() const;
  void report_done() const;
  double since_begin() const;

  Communicator& comm_;
  View copies_;
  Phase phase_ = Phase::idle;
  std::filesystem::path part_;
  std::filesystem::path final_path_;
  CheckpointOptions options_;
  CheckpointLayout layout_;
  std::string layout_key_;  ///< of the content that layout_ was agreed for
  Manifest manifest_;       ///< rank 0
  std::vector<std::string> digests_;
  std::unique_ptr<ShardDrain> drain_;
  std::unique_ptr<FolderCompletion> completion_;                      ///< rank 0
  std::filesystem::path folder_;                                      ///< rank 0: the output_dir of the last one
  std::optional<std::pair<std::uint64_t, std::uint64_t>> folder_id_;  ///< rank 0: device and inode of output_dir
  std::chrono::steady_clock::time_point begun_{};
  double waited_s_ = 0.0;  ///< the caller of begin(), secure() and finish(), for the checkpoint in flight
};

}  // namespace dstrain
