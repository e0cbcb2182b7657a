// SPDX-License-Identifier: Apache-2.0
#include "io/files/jsonl.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "core/error.hpp"

namespace dstrain {
namespace {

/// Where the last whole line ends.
std::int64_t end_of_whole_lines(const FileDescriptor& file, const std::filesystem::path& path) {
  std::array<char, 4096> block{};
  auto end = file_bytes(file, path);
  while (end > 0) {
    const auto bytes = std::min<std::int64_t>(end, block.size());
    read_at(file, end - bytes, block.data(), bytes, path);
    const std::string_view text(block.data(), static_cast<std::size_t>(bytes));
    if (const auto newline = text.rfind('\n'); newline != std::string_view::npos) {
      return end - bytes + static_cast<std::int64_t>(newline) + 1;
    }
    end -= bytes;
  }
  return 0;
}

}  // namespace

JsonlFile::JsonlFile(std::filesystem::path path, Mode mode) : path_(std::move(path)) {
  const int flags = O_RDWR | O_CREAT | O_CLOEXEC | (mode == Mode::truncate ? O_TRUNC : 0);
  file_.reset(::open(path_.c_str(), flags, 0666));
  if (!file_) {
    throw IoError(fmt::format("cannot open: {}", std::generic_category().message(errno)), path_.string())
        .with_code(ExitCode::failed);
  }
  end_ = end_of_whole_lines(file_, path_);
  if (::ftruncate(file_.get(), end_) != 0) {
    throw IoError(fmt::format("cannot cut off a torn line: {}", std::generic_category().message(errno)), path_.string())
        .with_code(ExitCode::failed);
  }
}

void JsonlFile::append(std::string_view json) {
  DSTRAIN_CHECK(json.find('\n') == std::string_view::npos, "a JSON line holds a newline");
  std::string line(json);
  line += '\n';
  write_at(file_, end_, line.data(), static_cast<std::int64_t>(line.size()), path_);
  end_ += static_cast<std::int64_t>(line.size());
}

}  // namespace dstrain
