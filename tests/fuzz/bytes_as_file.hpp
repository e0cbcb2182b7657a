// SPDX-License-Identifier: Apache-2.0
/// Readers that take a path, given bytes in memory.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "fuzz.hpp"

namespace dstrain::fuzz {

/// A file without a place on any disk that holds `bytes`; path() opens it.
class BytesAsFile {
 public:
  explicit BytesAsFile(std::string_view bytes) : file_(memfd_create("input", MFD_CLOEXEC)) {
    for (std::size_t done = 0; done < bytes.size();) {
      const auto n = file_ < 0 ? -1 : write(file_, bytes.data() + done, bytes.size() - done);
      if (n <= 0) {
        std::perror("memfd");
        std::abort();
      }
      done += static_cast<std::size_t>(n);
    }
  }
  BytesAsFile(const BytesAsFile&) = delete;
  BytesAsFile& operator=(const BytesAsFile&) = delete;
  ~BytesAsFile() { close(file_); }

  [[nodiscard]] std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
  int file_;
};

}  // namespace dstrain::fuzz
