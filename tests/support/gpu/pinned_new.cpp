// SPDX-License-Identifier: Apache-2.0
/// operator new in memory that a GPU reaches, so that the operations' own tests, which keep their operands in ordinary
/// containers, run on a GPU as they stand: one pinned region, blocks of powers of two.
#include <cuda_runtime.h>

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>

namespace {

constexpr std::size_t region_bytes = std::size_t{1} << 30;
constexpr int classes = 31;

struct Pool {
  std::mutex mutex;
  char* region = nullptr;
  std::size_t used = 0;
  bool tried = false;
  void* free_blocks[classes] = {};

  /// A block of 2^order bytes; null where there is no GPU or no room.
  void* take(int order) {
    const std::lock_guard lock(mutex);
    if (!tried) {
      tried = true;
      void* memory = nullptr;
      int devices = 0;
      if (cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0 &&
          cudaHostAlloc(&memory, region_bytes, cudaHostAllocMapped | cudaHostAllocPortable) == cudaSuccess)
        region = static_cast<char*>(memory);
    }
    if (region == nullptr) return nullptr;
    if (void* block = free_blocks[order]) {
      free_blocks[order] = *static_cast<void**>(block);
      return block;
    }
    const std::size_t bytes = std::size_t{1} << order;
    if (used + bytes > region_bytes) return nullptr;
    void* block = region + used;
    used += bytes;
    return block;
  }
  void give(void* block, int order) {
    const std::lock_guard lock(mutex);
    *static_cast<void**>(block) = free_blocks[order];
    free_blocks[order] = block;
  }
};

Pool& pool() {
  static Pool* instance = new (std::malloc(sizeof(Pool))) Pool();
  return *instance;
}

// In front of every block: its order, or 0 where malloc gave it; 64 bytes keep what follows aligned.
constexpr std::size_t header = 64;

void* allocate(std::size_t bytes) {
  const int order = static_cast<int>(std::bit_width(bytes + header - 1));
  void* block = order < classes ? pool().take(order) : nullptr;
  const bool pinned = block != nullptr;
  if (!pinned) block = std::aligned_alloc(64, (bytes + header + 63) / 64 * 64);
  if (block == nullptr) throw std::bad_alloc();
  *static_cast<int*>(block) = pinned ? order : 0;
  return static_cast<char*>(block) + header;
}

void release(void* memory) noexcept {
  if (memory == nullptr) return;
  void* block = static_cast<char*>(memory) - header;
  const int order = *static_cast<int*>(block);
  if (order == 0) {
    std::free(block);
  } else {
    pool().give(block, order);
  }
}

}  // namespace

void* operator new(std::size_t bytes) { return allocate(bytes); }
void* operator new[](std::size_t bytes) { return allocate(bytes); }
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { release(memory); }
