// SPDX-License-Identifier: Apache-2.0
/// A file of JSON lines that grows while others read it (trainer_log.jsonl).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "io/files/file.hpp"

namespace dstrain {

/// Appends one line at a time; each line is one write, so a reader never sees half of one from a living writer.
class JsonlFile {
 public:
  enum class Mode : std::uint8_t { truncate, append };

  /// Local. With `append`, a last line without its newline (the writer was killed in the middle) is cut off.
  /// @throws IoError (exit code 1)
  JsonlFile(std::filesystem::path path, Mode mode);

  /// Writes `json` and a newline. Local. @throws Error where `json` holds a newline; IoError where the write fails
  void append(std::string_view json);

 private:
  std::filesystem::path path_;
  FileDescriptor file_;
  std::int64_t end_ = 0;
};

}  // namespace dstrain
