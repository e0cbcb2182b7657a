// SPDX-License-Identifier: Apache-2.0
#include "comm/plain_memory.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "core/error.hpp"
#include "core/system_memory.hpp"

namespace dstrain {

void* map_plain_memory(std::int64_t bytes) {
  if (bytes < 0) throw Error(fmt::format("a buffer of {} bytes was asked for", bytes));
  if (bytes == 0) return nullptr;
  const auto length = static_cast<std::size_t>(bytes);
  void* base = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) {
    throw Error(fmt::format("no memory for a buffer of {}: {}", format_bytes(bytes), std::strerror(errno)));
  }
  madvise(base, length, MADV_HUGEPAGE);
  return base;
}

void unmap_plain_memory(void* base, std::int64_t bytes) noexcept {
  if (base != nullptr) munmap(base, static_cast<std::size_t>(bytes));
}

}  // namespace dstrain
