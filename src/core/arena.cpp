// SPDX-License-Identifier: Apache-2.0
/// The memory behind a MemoryPlan. (Its class stands in core/memory_plan.hpp.)
#include <fmt/core.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/device_runtime.hpp"
#include "core/error.hpp"
#include "core/memory_plan.hpp"
#include "core/parallel.hpp"
#include "core/system_memory.hpp"

namespace dstrain {
namespace {

constexpr std::int64_t page_bytes = 4096;
constexpr std::int64_t huge_page = std::int64_t{2} << 20;

/// Largest buffers first: what a person can make smaller.
std::string table_of_largest(const MemoryPlan& plan, std::size_t lines = 8) {
  std::vector<const PlannedBuffer*> sorted;
  for (const auto& buffer : plan.buffers()) sorted.push_back(&buffer);
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->bytes() > b->bytes(); });
  std::string table;
  for (std::size_t i = 0; i < std::min(lines, sorted.size()); ++i) {
    table += fmt::format("\n  {:>10}  {}", format_bytes(sorted[i]->bytes()), sorted[i]->name);
  }
  if (sorted.size() > lines) table += fmt::format("\n  and {} smaller buffers", sorted.size() - lines);
  return table;
}

[[noreturn]] void throw_out_of_memory(const MemoryPlan& plan, std::int64_t wanted, const std::string& reason) {
  throw Error(fmt::format("out of memory: the plan asks for {} of host memory, {}; its largest buffers:{}",
                          format_bytes(wanted), reason, table_of_largest(plan)),
              "",
              "use more ranks, a higher ZeRO stage, a smaller micro-batch or cutoff_len, or activation checkpointing");
}

/// An anonymous mapping that starts on a huge page. More address space than needed is reserved, its ends are given
/// back.
void* map_aligned(std::int64_t bytes) noexcept {
  const auto reserved = static_cast<std::size_t>(bytes + huge_page);
  void* raw = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  const auto start = reinterpret_cast<std::uintptr_t>(raw);
  const auto aligned = (start + huge_page - 1) / huge_page * huge_page;
  if (aligned > start) munmap(raw, aligned - start);
  const auto end = aligned + static_cast<std::uintptr_t>(bytes), reserved_end = start + reserved;
  if (reserved_end > end) munmap(reinterpret_cast<void*>(end), reserved_end - end);
  return reinterpret_cast<void*>(aligned);
}

/// Writes to every page, so that a step meets no page fault; by all threads, so that pages lie near those who use them.
void touch(void* base, std::int64_t bytes) {
  parallel_for(bytes, huge_page, [&](std::int64_t begin, std::int64_t end) {
    auto* bytes_of_arena = static_cast<volatile char*>(base);
    for (std::int64_t i = begin; i < end; i += page_bytes) bytes_of_arena[i] = 0;
  });
}

}  // namespace

Arena::Arena(MemoryPlan plan, const std::function<void*(std::int64_t)>& registered) : plan_(std::move(plan)) {
  DSTRAIN_CHECK(plan_.finalized(), "an arena needs a final plan");
  constexpr auto host = static_cast<int>(MemoryKind::host), shared = static_cast<int>(MemoryKind::registered);
  const bool on_host = plan_.target() == DeviceKind::cpu;
  DSTRAIN_CHECK(on_host || registered || plan_.arena_bytes(MemoryKind::registered) == 0,
                "a plan for several GPUs needs the memory of their communicator");
  mapped_[host] = plan_.arena_bytes(MemoryKind::host);
  if (!registered) mapped_[shared] = plan_.arena_bytes(MemoryKind::registered);
  const std::int64_t wanted = mapped_[host] + mapped_[shared];
  if (const auto available = available_host_bytes(); wanted + plan_.arena_bytes(MemoryKind::pinned) > available) {
    throw_out_of_memory(plan_, wanted, fmt::format("{} are available", format_bytes(available)));
  }
  try {
    for (const int kind : {host, shared}) {
      if (mapped_[kind] == 0) continue;
      base_[kind] = map_aligned(mapped_[kind]);
      if (base_[kind] == nullptr)
        throw_out_of_memory(plan_, wanted, fmt::format("mmap failed: {}", std::strerror(errno)));
      madvise(base_[kind], static_cast<std::size_t>(mapped_[kind]),
              MADV_HUGEPAGE);  // advice: its refusal costs speed only
      touch(base_[kind], mapped_[kind]);
    }
    if (registered && plan_.arena_bytes(MemoryKind::registered) > 0) {
      base_[shared] = registered(plan_.arena_bytes(MemoryKind::registered));
      DSTRAIN_CHECK(base_[shared] != nullptr, "the registered memory of the plan was not given");
      if (on_host) touch(base_[shared], plan_.arena_bytes(MemoryKind::registered));
    }
    take_device_memory();
  } catch (...) {  // no destructor will run for a constructor that throws
    release();
    throw;
  }
}

void Arena::take_device_memory() {
  constexpr auto pinned = static_cast<int>(MemoryKind::pinned), device = static_cast<int>(MemoryKind::device);
  const std::int64_t pinned_bytes = plan_.arena_bytes(MemoryKind::pinned);
  const std::int64_t device_bytes = plan_.arena_bytes(MemoryKind::device);
  const std::int64_t registered_bytes =
      plan_.target() == DeviceKind::cuda ? plan_.arena_bytes(MemoryKind::registered) : 0;
  if (pinned_bytes == 0 && device_bytes == 0 && registered_bytes == 0) return;
  DeviceRuntime& runtime = require_device_runtime();
  const Stream stream(Device{DeviceKind::cuda, 0}, nullptr);
  if (device_bytes > 0) {
    if (const auto memory = runtime.memory(); device_bytes > memory.free) {
      throw Error(
          fmt::format(
              "out of memory: the plan asks for {} of the GPU's memory, {} of {} are free; its largest buffers:{}",
              format_bytes(device_bytes), format_bytes(memory.free), format_bytes(memory.total),
              table_of_largest(plan_)),
          "", "use more ranks, a higher ZeRO stage, a smaller micro-batch or cutoff_len, or activation checkpointing");
    }
    base_[device] = runtime.allocate(device_bytes);
    zero_bytes(stream, base_[device], device_bytes);
  }
  if (registered_bytes > 0) zero_bytes(stream, base_[static_cast<int>(MemoryKind::registered)], registered_bytes);
  if (pinned_bytes > 0) {
    base_[pinned] = runtime.allocate_pinned(pinned_bytes);
    std::memset(base_[pinned], 0, static_cast<std::size_t>(pinned_bytes));
  }
  stream.synchronize();
}

void Arena::release() noexcept {
  for (int kind = 0; kind < memory_kinds; ++kind) {
    if (mapped_[kind] > 0 && base_[kind] != nullptr) munmap(base_[kind], static_cast<std::size_t>(mapped_[kind]));
  }
  if (void* memory = base_[static_cast<int>(MemoryKind::device)]) device_runtime()->release(memory);
  if (void* memory = base_[static_cast<int>(MemoryKind::pinned)]) device_runtime()->release_pinned(memory);
}

Arena::~Arena() { release(); }

View Arena::operator[](BufferId id) const {
  const PlannedBuffer& buffer = plan_[id];
  if (buffer.count == 0) return {nullptr, 0, buffer.dtype};
  return {static_cast<char*>(base_[static_cast<int>(buffer.kind)]) + buffer.offset, buffer.count, buffer.dtype};
}

std::int64_t Arena::allocated_bytes(MemoryKind kind) const noexcept {
  return base_[static_cast<int>(kind)] == nullptr ? 0 : plan_.arena_bytes(kind);
}

}  // namespace dstrain
