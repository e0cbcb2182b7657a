// SPDX-License-Identifier: Apache-2.0
#include "io/files/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "core/error.hpp"

namespace dstrain {
namespace {

std::string system_text(int error) { return std::generic_category().message(error); }

std::string hint_for(int error) {
  if (error == ENOSPC || error == EDQUOT) return "free disk space or choose another output_dir";
  if (error == EACCES || error == EPERM || error == EROFS) return "check the permissions of the file and its folder";
  return {};
}

[[noreturn]] void throw_reading(const std::filesystem::path& path, const char* what, int error) {
  throw IoError(fmt::format("cannot {}: {}", what, system_text(error)), path.string(), hint_for(error));
}

[[noreturn]] void throw_writing(const std::filesystem::path& path, const char* what, int error) {
  throw IoError(fmt::format("cannot {}: {}", what, system_text(error)), path.string(), hint_for(error))
      .with_code(ExitCode::failed);
}

template <typename Call>
auto retried(const Call& call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace

void FileDescriptorTraits::destroy(Type fd) noexcept { ::close(fd); }

FileDescriptor open_to_read(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe by mistake must not wait for a writer. It means nothing for regular files.
  FileDescriptor file(retried([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); }));
  if (!file) throw_reading(path, "open", errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw_reading(path, "stat", errno);
  if (!S_ISREG(status.st_mode)) throw IoError("is not a regular file", path.string());
  return file;
}

FileDescriptor create_to_write(const std::filesystem::path& path) {
  FileDescriptor file(retried([&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666); }));
  if (!file) throw_writing(path, "create", errno);
  return file;
}

FileDescriptor open_to_change(const std::filesystem::path& path) {
  FileDescriptor file(retried([&] { return ::open(path.c_str(), O_RDWR | O_CLOEXEC); }));
  if (!file) throw_writing(path, "open", errno);
  return file;
}

std::int64_t file_bytes(const FileDescriptor& file, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw_reading(path, "stat", errno);
  return status.st_size;
}

void read_at(const FileDescriptor& file, std::int64_t offset, void* to, std::int64_t bytes,
             const std::filesystem::path& path) {
  auto* out = static_cast<char*>(to);
  while (bytes > 0) {
    const auto got = retried([&] { return ::pread(file.get(), out, static_cast<std::size_t>(bytes), offset); });
    if (got < 0) throw_reading(path, "read", errno);
    if (got == 0) {
      throw IoError(fmt::format("ends {} bytes too early (at byte {})", bytes, offset), path.string(),
                    "the file was cut short; copy or download it again");
    }
    out += got;
    offset += got;
    bytes -= got;
  }
}

void write_at(const FileDescriptor& file, std::int64_t offset, const void* from, std::int64_t bytes,
              const std::filesystem::path& path) {
  const auto* in = static_cast<const char*>(from);
  while (bytes > 0) {
    const auto put = retried([&] { return ::pwrite(file.get(), in, static_cast<std::size_t>(bytes), offset); });
    if (put < 0) throw_writing(path, "write", errno);
    in += put;
    offset += put;
    bytes -= put;
  }
}

void sync_file(const FileDescriptor& file, const std::filesystem::path& path) {
  if (retried([&] { return ::fsync(file.get()); }) != 0) throw_writing(path, "fsync", errno);
}

void sync_file(const std::filesystem::path& path) {
  const FileDescriptor file(retried([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (!file) throw_writing(path, "open for fsync", errno);
  sync_file(file, path);
}

void sync_folder(const std::filesystem::path& folder) {
  const auto name = folder.empty() ? std::filesystem::path(".") : folder;
  const FileDescriptor file(retried([&] { return ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!file) throw_writing(name, "open folder for fsync", errno);
  // Some file systems do not know fsync on folders (EINVAL); their renames are as safe as they get.
  if (retried([&] { return ::fsync(file.get()); }) != 0 && errno != EINVAL) throw_writing(name, "fsync folder", errno);
}

std::string read_file(const std::filesystem::path& path, std::int64_t max_bytes) {
  const FileDescriptor file(retried([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (!file) throw_reading(path, "open", errno);
  std::string bytes;
  constexpr std::int64_t first_step = 64 * 1024;
  std::int64_t filled = 0;
  for (;;) {
    // One byte more than allowed, to see that there is more.
    const auto room = std::min(std::max(first_step, filled), max_bytes + 1 - filled);
    bytes.resize(static_cast<std::size_t>(filled + room));
    const auto got = retried([&] { return ::read(file.get(), bytes.data() + filled, static_cast<std::size_t>(room)); });
    if (got < 0) throw_reading(path, "read", errno);
    filled += got;
    if (filled > max_bytes) throw IoError(fmt::format("is larger than {} bytes", max_bytes), path.string());
    if (got == 0) break;
  }
  bytes.resize(static_cast<std::size_t>(filled));
  return bytes;
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  auto temporary = path;
  temporary += ".tmp";
  try {
    const auto file = create_to_write(temporary);
    write_at(file, 0, bytes.data(), static_cast<std::int64_t>(bytes.size()), temporary);
    sync_file(file, temporary);
    rename_path(temporary, path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_folder(path.parent_path());
}

void rename_path(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) throw_writing(to, "rename", errno);
}

void create_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error || !std::filesystem::is_directory(folder, error)) {
    throw IoError(fmt::format("cannot create folder: {}", error ? error.message() : "a file of that name exists"),
                  folder.string(), hint_for(error.value()))
        .with_code(ExitCode::failed);
  }
}

std::int64_t free_disk_bytes(const std::filesystem::path& folder) {
  struct statvfs status {};
  if (::statvfs(folder.c_str(), &status) != 0) throw_reading(folder, "ask for free space", errno);
  return static_cast<std::int64_t>(status.f_bavail) * static_cast<std::int64_t>(status.f_frsize);
}

bool is_plain_file_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

}  // namespace dstrain
