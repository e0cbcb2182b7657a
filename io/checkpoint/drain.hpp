// SPDX-License-Identifier: Apache-2.0
/// A thread that carries memory into a file while its owner computes, and keeps what the owner is about to overwrite.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/view.hpp"

namespace dstrain {

/// A run of bytes on its way from memory to its place in a file; one digest covers it.
struct DrainPiece {
  const void* from = nullptr;
  std::int64_t bytes = 0;
  std::int64_t at = 0;  ///< in the file
};

enum class DrainState : std::uint8_t { running, done, failed };

/// Writes pieces of memory to an existing file, front to back, in a thread of its own, and fsyncs it.
///
/// The memory is read in place. Before its owner changes it, secure() copies what has not been written yet, back to
/// front, so that copying and writing meet in the middle. All functions are local; the destructor stops the thread.
class ShardDrain {
 public:
  /// Starts at once.
  /// @param copies     bytes for secure(); may be empty: then secure() waits until everything is written
  /// @param patience_s without one piece getting done for so long, the disk counts as hung; 0: never
  ShardDrain(std::filesystem::path file, std::vector<DrainPiece> pieces, View copies, double patience_s);
  ShardDrain(const ShardDrain&) = delete;
  ShardDrain& operator=(const ShardDrain&) = delete;
  /// Stops after the piece at work and waits for that; a hung thread is left behind.
  ~ShardDrain();

  /// Never waits. A hung disk counts as failed.
  [[nodiscard]] DrainState state() const;

  /// On return the memory may change: every piece is written, copied, or will not be written any more.
  void secure();

  /// Waits until the file is complete on the disk, and computes digests meanwhile. @throws IoError (exit code 1) what
  /// went wrong
  void wait();

  /// The digests of all pieces, in their order. After wait().
  [[nodiscard]] const std::vector<std::string>& digests() const;

  /// Bytes that secure() copied.
  [[nodiscard]] std::int64_t copied_bytes() const;

 private:
  struct Job;
  std::shared_ptr<Job> job_;  ///< with the thread, so that one that hangs can be left behind
};

}  // namespace dstrain
