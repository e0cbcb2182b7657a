// SPDX-License-Identifier: Apache-2.0
/// The directory of a zip archive whose members are stored, not compressed: what torch.save writes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/files/file.hpp"

namespace dstrain {

/// One member: bytes [offset, offset + bytes) of the file.
struct ZipMember {
  std::string name;
  std::int64_t offset = 0;
  std::int64_t bytes = 0;
};

/// Reads the central directory (zip and zip64) and checks it against the file and the members' own headers. Nothing
/// is unpacked: compressed, encrypted or split archives are refused.
class ZipArchive {
 public:
  /// Local; reads the directory and each member's header. @throws IoError naming the file and what is wrong
  static ZipArchive open(const std::filesystem::path& path);

  [[nodiscard]] const std::vector<ZipMember>& members() const noexcept { return members_; }
  /// Null where there is none of that name.
  [[nodiscard]] const ZipMember* find(std::string_view name) const;
  /// Bytes [begin, begin + bytes) of a member. Local; several threads may read. @throws IoError
  void read(const ZipMember& member, std::int64_t begin, void* to, std::int64_t bytes) const;
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  struct Directory {
    std::int64_t offset;
    std::int64_t bytes;
    std::int64_t entries;
  };
  [[nodiscard]] Directory find_directory() const;
  [[nodiscard]] Directory find_directory64(std::int64_t end_at) const;
  void read_directory(const Directory& directory);
  void check_local_headers();
  [[noreturn]] void refuse(const std::string& what, const std::string& hint = {}) const;

  std::filesystem::path path_;
  FileDescriptor file_;
  std::int64_t file_bytes_ = 0;
  std::vector<ZipMember> members_;
  std::unordered_map<std::string, std::size_t> index_;
};

}  // namespace dstrain
