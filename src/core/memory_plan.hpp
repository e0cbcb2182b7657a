// SPDX-License-Identifier: Apache-2.0
/// Every buffer of size, entered by name before anything is allocated; the arena allocates exactly that.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/device.hpp"
#include "core/view.hpp"

namespace dstrain {

/// `registered`: reached by collectives without a copy (Communicator::allocate_registered: a shared window inside a
/// node). `pinned`: host memory that a GPU reaches too. `device`: a GPU's own.
enum class MemoryKind : std::uint8_t { host, registered, pinned, device };
inline constexpr int memory_kinds = 4;

/// Phases of a run; a buffer lives in a set of them. Buffers whose sets do not meet may share bytes.
enum Phase : std::uint32_t {
  phase_load = 1U << 0,
  phase_forward = 1U << 1,
  phase_backward = 1U << 2,
  phase_optimizer = 1U << 3,
  phase_save = 1U << 4,
  phase_generate = 1U << 5,  ///< answers to prompts, outside of training steps
  phase_step = phase_forward | phase_backward | phase_optimizer,
  phase_always = 0xffffffffU
};

/// Index of an entry of one MemoryPlan.
struct BufferId {
  std::int32_t index = -1;
  [[nodiscard]] bool valid() const noexcept { return index >= 0; }
};

/// One line of the plan.
struct PlannedBuffer {
  std::string name;        ///< "parameters/weights", "activations/qkv", ...; the part before '/' is the category
  std::int64_t count = 0;  ///< elements
  DType dtype = DType::f32;
  MemoryKind kind = MemoryKind::host;
  std::uint32_t phases = phase_always;
  std::int64_t offset = 0;  ///< in the arena of its kind; set by finalize()
  [[nodiscard]] std::int64_t bytes() const noexcept { return count * static_cast<std::int64_t>(size_of(dtype)); }
};

/// The list of buffers of one rank. Filled by plan functions, then finalized once; pure arithmetic, no memory is
/// touched.
class MemoryPlan {
 public:
  /// @param target  where the computation runs. For a GPU what is entered as `host` or `registered` lies in its memory,
  /// as kernels want it; what host code reads or writes is entered as host_visible().
  explicit MemoryPlan(DeviceKind target = DeviceKind::cpu) : target_(target) {}

  [[nodiscard]] DeviceKind target() const noexcept { return target_; }
  /// The kind of memory that host code and kernels both reach.
  [[nodiscard]] MemoryKind host_visible() const noexcept {
    return target_ == DeviceKind::cpu ? MemoryKind::host : MemoryKind::pinned;
  }

  /// Enters a buffer of `count` elements. `count` may be 0. Not allowed after finalize().
  BufferId add(std::string name, std::int64_t count, DType dtype, std::uint32_t phases = phase_always,
               MemoryKind kind = MemoryKind::host);

  /// Gives every buffer its place: 64-byte aligned (4096 from 64 KiB up), first fit, sharing between disjoint phase
  /// sets. Buffers with equal arguments get equal places on every rank of equal plans.
  void finalize();

  [[nodiscard]] bool finalized() const noexcept { return finalized_; }
  [[nodiscard]] const std::vector<PlannedBuffer>& buffers() const noexcept { return buffers_; }
  [[nodiscard]] const PlannedBuffer& operator[](BufferId id) const {
    return buffers_.at(static_cast<std::size_t>(id.index));
  }
  /// Bytes of the arena of `kind`, after finalize(): what will be allocated, exactly.
  [[nodiscard]] std::int64_t arena_bytes(MemoryKind kind = MemoryKind::host) const noexcept;

 private:
  DeviceKind target_;
  std::vector<PlannedBuffer> buffers_;
  std::int64_t arena_bytes_[memory_kinds] = {};
  bool finalized_ = false;
};

/// The memory of a finalized plan: one anonymous mapping per kind, huge pages advised, touched once at construction
/// by all threads (so that a step meets no page fault and measured = planned). Pinned and device memory come from the
/// DeviceRuntime, one allocation each, zeroed too.
class Arena {
 public:
  /// @throws Error where the system gives less than the plan asks for; nothing is held then.
  /// @param registered  gives the bytes of kind `registered` and keeps owning them; without it (one rank) they are
  /// plain host
  ///                    memory of the arena
  explicit Arena(MemoryPlan plan, const std::function<void*(std::int64_t)>& registered = {});
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();

  [[nodiscard]] View operator[](BufferId id) const;
  [[nodiscard]] const MemoryPlan& plan() const noexcept { return plan_; }
  [[nodiscard]] std::int64_t allocated_bytes(MemoryKind kind = MemoryKind::host) const noexcept;

 private:
  MemoryPlan plan_;
  void* base_[memory_kinds] = {};
  std::int64_t mapped_[memory_kinds] = {};
  void take_device_memory();
  void release() noexcept;
};

}  // namespace dstrain
