// SPDX-License-Identifier: Apache-2.0
/// Files that tell the truth: whole reads with a bound, writes that are all there or not there, errors that name the
/// path.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/handle.hpp"

namespace dstrain {

struct FileDescriptorTraits {
  using Type = int;
  static Type null() noexcept { return -1; }
  static void destroy(Type fd) noexcept;
};
/// Owns a POSIX file descriptor.
using FileDescriptor = Handle<FileDescriptorTraits>;

/// Opens a regular file for read_at(). Local.
/// @throws IoError  it does not exist, cannot be opened or is not a regular file
[[nodiscard]] FileDescriptor open_to_read(const std::filesystem::path& path);

/// Creates (or empties) a file for write_at(). Local. @throws IoError (exit code 1)
[[nodiscard]] FileDescriptor create_to_write(const std::filesystem::path& path);

/// Opens an existing file for write_at(). Local. @throws IoError (exit code 1)
[[nodiscard]] FileDescriptor open_to_change(const std::filesystem::path& path);

/// Size in bytes of an open file. Local.
[[nodiscard]] std::int64_t file_bytes(const FileDescriptor& file, const std::filesystem::path& path);

/// Reads exactly `bytes` at `offset`. Local; several threads may read one descriptor.
/// @throws IoError  the file ends before, or the system reports an error
void read_at(const FileDescriptor& file, std::int64_t offset, void* to, std::int64_t bytes,
             const std::filesystem::path& path);

/// Writes exactly `bytes` at `offset`. Local. @throws IoError (exit code 1), e.g. a full disk
void write_at(const FileDescriptor& file, std::int64_t offset, const void* from, std::int64_t bytes,
              const std::filesystem::path& path);

/// Waits until the file's bytes are on the disk. Local. @throws IoError (exit code 1)
void sync_file(const FileDescriptor& file, const std::filesystem::path& path);
void sync_file(const std::filesystem::path& path);
/// Waits until the names in a folder (creations, renames, removals) are on the disk. Local.
void sync_folder(const std::filesystem::path& folder);

/// The whole file as bytes. Pipes are read to their end. Local.
/// @throws IoError  it cannot be read, or holds more than `max_bytes` (nothing of that size is allocated then)
[[nodiscard]] std::string read_file(const std::filesystem::path& path, std::int64_t max_bytes);

/// Replaces `path` by `bytes`: a reader sees the old file or the whole new one, also after a power cut. Local.
/// Writes `path`.tmp, fsyncs, renames, fsyncs the folder. @throws IoError (exit code 1); the old file is untouched
/// then.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

/// Renames `from` to `to` (which may exist as a file). Local. @throws IoError (exit code 1)
void rename_path(const std::filesystem::path& from, const std::filesystem::path& to);

/// Creates a folder and its parents; it may exist. Local. @throws IoError (exit code 1)
void create_folder(const std::filesystem::path& folder);

/// Bytes that an unprivileged process can still write on the file system that holds `folder`. Local.
[[nodiscard]] std::int64_t free_disk_bytes(const std::filesystem::path& folder);

/// True for a name that stays inside its folder: not empty, no '/', no NUL, not "." or "..", at most 255 bytes.
/// For names that come out of a file.
[[nodiscard]] bool is_plain_file_name(std::string_view name) noexcept;

}  // namespace dstrain
