// SPDX-License-Identifier: Apache-2.0
#include "support/emulated/emulated_device.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

namespace dstrain {

namespace {

constexpr std::int64_t page = 4096;
constexpr std::int64_t huge_page = std::int64_t{2} << 20;

std::int64_t pages(std::int64_t bytes) { return (bytes + page - 1) / page * page; }

/// Memory on huge pages where there is much of it: opening and closing costs time for every page.
void* map(std::int64_t size) {
  const std::int64_t reserved = size < huge_page ? size : size + huge_page;
  void* raw = mmap(nullptr, static_cast<std::size_t>(reserved), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED || reserved == size) return raw;
  const auto start = reinterpret_cast<std::uintptr_t>(raw);
  const auto aligned = (start + huge_page - 1) / huge_page * huge_page;
  const auto end = aligned + static_cast<std::uintptr_t>(size),
             reserved_end = start + static_cast<std::uintptr_t>(reserved);
  if (aligned > start) munmap(raw, aligned - start);
  if (reserved_end > end) munmap(reinterpret_cast<void*>(end), reserved_end - end);
  auto* memory = reinterpret_cast<void*>(aligned);
  madvise(memory, static_cast<std::size_t>(size), MADV_HUGEPAGE);
  return memory;
}

/// All memory of all emulated devices, and how many Opens live.
struct Guarded {
  std::map<void*, std::int64_t> regions;
  int open = 0;

  void protect(int protection) const {
    for (const auto& [memory, bytes] : regions) mprotect(memory, static_cast<std::size_t>(bytes), protection);
  }
};

Guarded& guarded() {
  static Guarded g;
  return g;
}

}  // namespace

EmulatedDevice::Open::Open() {
  if (guarded().open++ == 0) guarded().protect(PROT_READ | PROT_WRITE);
}

EmulatedDevice::Open::~Open() {
  if (--guarded().open == 0) guarded().protect(PROT_NONE);
}

EmulatedDevice::~EmulatedDevice() {
  if (watching() == this) watch(false);
  run_kernels(true);
  for (const auto& [memory, bytes] : sizes_) {
    guarded().regions.erase(memory);
    munmap(memory, static_cast<std::size_t>(bytes));
  }
}

void* EmulatedDevice::allocate(std::int64_t bytes) {
  const std::int64_t size = bytes < huge_page ? pages(bytes) : (bytes + huge_page - 1) / huge_page * huge_page;
  void* memory = map(size);
  if (memory == MAP_FAILED) throw CudaError("no memory for an emulated device");
  sizes_[memory] = size;
  guarded().regions[memory] = size;
  const Open opened;
  std::memset(memory, 0xff, static_cast<std::size_t>(size));  // NaN: a GPU's memory holds anything at first
  return memory;
}

void EmulatedDevice::release(void* memory) noexcept {
  const auto at = sizes_.find(memory);
  if (at == sizes_.end()) return;
  guarded().regions.erase(memory);
  munmap(memory, static_cast<std::size_t>(at->second));
  sizes_.erase(at);
}

void* EmulatedDevice::allocate_pinned(std::int64_t bytes) {
  ++pinned_;
  return std::aligned_alloc(static_cast<std::size_t>(page), static_cast<std::size_t>(pages(bytes)));
}

void EmulatedDevice::release_pinned(void* memory) noexcept {
  --pinned_;
  std::free(memory);
}

std::string EmulatedDevice::name_of(const void* handle) const {
  if (handle == nullptr) return "s0";
  const auto at = names_.find(handle);
  return at == names_.end() ? "unknown" : at->second;
}

namespace {
EmulatedDevice* watcher = nullptr;
bool kernels_run = true;
}  // namespace

void EmulatedDevice::watch(bool on) noexcept { watcher = on ? this : nullptr; }
EmulatedDevice* EmulatedDevice::watching() noexcept { return watcher; }
void EmulatedDevice::run_kernels(bool on) noexcept { kernels_run = on; }
bool EmulatedDevice::runs_kernels() noexcept { return kernels_run; }

void EmulatedDevice::copy(void* stream, void* to, const void* from, std::int64_t bytes) {
  if (watcher == this) add({Operation::Kind::work, "copy", stream, nullptr, {{to, bytes, true}, {from, bytes, false}}});
  log_.push_back("copy " + name_of(stream) + " " + std::to_string(bytes));
  const Open opened;
  std::memmove(to, from, static_cast<std::size_t>(bytes));
}

void EmulatedDevice::zero(void* stream, void* at, std::int64_t bytes) {
  if (watcher == this) add({Operation::Kind::work, "zero", stream, nullptr, {{at, bytes, true}}});
  log_.push_back("zero " + name_of(stream) + " " + std::to_string(bytes));
  const Open opened;
  std::memset(at, 0, static_cast<std::size_t>(bytes));
}

void* EmulatedDevice::create_stream() {
  void* handle = new char;
  names_[handle] = "s" + std::to_string(++made_);
  return handle;
}

void EmulatedDevice::destroy_stream(void* stream) noexcept {
  names_.erase(stream);
  delete static_cast<char*>(stream);
}

void EmulatedDevice::synchronize(void* stream) {
  if (watcher == this) add({Operation::Kind::synchronize, "synchronize", stream, nullptr, {}});
  log_.push_back("synchronize " + name_of(stream));
}

void* EmulatedDevice::create_event() {
  void* handle = new char;
  names_[handle] = "e" + std::to_string(++made_);
  return handle;
}

void EmulatedDevice::destroy_event(void* event) noexcept {
  names_.erase(event);
  delete static_cast<char*>(event);
}

void EmulatedDevice::record(void* event, void* stream) {
  if (watcher == this) add({Operation::Kind::record, "record", stream, event, {}});
  log_.push_back("record " + name_of(event) + " " + name_of(stream));
}

void EmulatedDevice::synchronize_event(void* event) {
  if (watcher == this) add({Operation::Kind::synchronize, "synchronize", nullptr, event, {}});
  log_.push_back("synchronize " + name_of(event));
}

void EmulatedDevice::wait(void* stream, void* event) {
  if (watcher == this) add({Operation::Kind::wait, "wait", stream, event, {}});
  log_.push_back("wait " + name_of(stream) + " " + name_of(event));
}

}  // namespace dstrain
