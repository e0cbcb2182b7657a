// SPDX-License-Identifier: Apache-2.0
/// TensorBoard's event files: scalars and texts over the steps of a run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "io/files/file.hpp"

namespace dstrain {

/// Appends records to one file `events.out.tfevents.<seconds>.<host>.<process>.0`; each is one write, so that a reader
/// of a living run sees whole records.
///
/// Format: TFRecord framing (length and data, each with a masked CRC-32C) around `Event` messages of
/// tensorflow/core/util/event.proto. Only the few fields that scalars and texts need are encoded.
class EventFile {
 public:
  /// Creates `folder` and the file in it. Local.
  /// @param wall_time  seconds since 1970 of the first record, also in the name
  /// @throws IoError (exit code 1)
  EventFile(const std::filesystem::path& folder, double wall_time);

  /// One value of `tag` at `step`. Local. @throws IoError (exit code 1)
  void add_scalar(std::string_view tag, double value, std::int64_t step, double wall_time);
  /// A text (Markdown) that TensorBoard shows under `tag`. Local. @throws IoError (exit code 1)
  void add_text(std::string_view tag, std::string_view text, double wall_time);

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  void append(std::string_view event);

  std::filesystem::path path_;
  FileDescriptor file_;
  std::int64_t end_ = 0;
};

/// One Event message. For EventFile and its tests. Local.
std::string scalar_event(std::string_view tag, float value, std::int64_t step, double wall_time);
std::string text_event(std::string_view tag, std::string_view text, double wall_time);
std::string version_event(double wall_time);
/// `data` as a TFRecord.
std::string tf_record(std::string_view data);

}  // namespace dstrain
