// SPDX-License-Identifier: Apache-2.0
/// The disk as the resolver sees it.
#include <fstream>
#include <system_error>

#include "config/resolve.hpp"

namespace dstrain {

FileAccess FileAccess::local() {
  FileAccess files;
  files.exists = [](const std::filesystem::path& path) {
    std::error_code ignored;
    return std::filesystem::exists(path, ignored);
  };
  files.read = [](const std::filesystem::path& path) -> std::optional<std::string> {
    constexpr std::uintmax_t kLargest = std::uintmax_t{1} << 20;
    std::error_code problem;
    if (!std::filesystem::is_regular_file(path, problem) || std::filesystem::file_size(path, problem) > kLargest ||
        problem) {
      return std::nullopt;
    }
    std::ifstream in(path, std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    return in.bad() || !in.is_open() ? std::nullopt : std::optional(std::move(text));
  };
  return files;
}

}  // namespace dstrain
