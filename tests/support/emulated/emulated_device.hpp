// SPDX-License-Identifier: Apache-2.0
/// A GPU that is not there: its memory is host memory that only kernels and copies may touch, its streams run at once.
///
/// Outside of an Open the memory is closed to everyone: code that reads or writes a GPU's memory from the host ends in
/// a segmentation fault here too, not only on a machine with a GPU.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/device_runtime.hpp"
#include "kernels/ops/optimizer.hpp"
#include "support/emulated/operation_log.hpp"

namespace dstrain {

class EmulatedDevice final : public DeviceRuntime {
 public:
  explicit EmulatedDevice(int count = 1) : count_(count) {}
  ~EmulatedDevice() override;

  /// While one lives the emulated memory of all devices can be touched: kernels and copies hold one.
  class Open {
   public:
    Open();
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;
    ~Open();
  };

  int count() override { return count_; }
  std::string why_none() override { return count_ > 0 ? "" : "this machine has no GPU"; }
  std::string describe(int /*index*/) override { return "emulated GPU"; }
  std::string identity(int index) override { return "emulated-" + std::to_string(index); }
  void use(int index) override { used_ = index; }
  DeviceMemory memory() override { return {std::int64_t{64} << 30, std::int64_t{64} << 30}; }
  void* allocate(std::int64_t bytes) override;
  void release(void* memory) noexcept override;
  void* allocate_pinned(std::int64_t bytes) override;
  void release_pinned(void* memory) noexcept override;
  void copy(void* stream, void* to, const void* from, std::int64_t bytes) override;
  void zero(void* stream, void* at, std::int64_t bytes) override;
  void* create_stream() override;
  void destroy_stream(void* stream) noexcept override;
  void synchronize(void* stream) override;
  void* create_event() override;
  void destroy_event(void* event) noexcept override;
  void record(void* event, void* stream) override;
  void wait(void* stream, void* event) override;
  void synchronize_event(void* event) override;

  /// What was asked for, in order: "record e1 s0", "wait s1 e1", "copy s0 64", "zero s1 8", "synchronize s0".
  [[nodiscard]] const std::vector<std::string>& log() const noexcept { return log_; }
  void clear_log() { log_.clear(); }
  /// While it is on, operations() gets what streams are given, kernels too.
  void watch(bool on) noexcept;
  /// The device that watches, null where none does.
  static EmulatedDevice* watching() noexcept;
  /// Without it kernels are noted and nothing else: their results stay what the memory holds. On at first.
  static void run_kernels(bool on) noexcept;
  static bool runs_kernels() noexcept;
  void add(Operation operation) { operations_.push_back(std::move(operation)); }
  [[nodiscard]] const std::vector<Operation>& operations() const noexcept { return operations_; }
  [[nodiscard]] int used() const noexcept { return used_; }
  /// Allocations, streams and events that nobody gave back.
  [[nodiscard]] std::size_t alive() const noexcept { return sizes_.size() + pinned_ + names_.size(); }

 private:
  std::string name_of(const void* handle) const;
  int count_;
  int used_ = 0;
  std::map<void*, std::int64_t> sizes_;
  std::size_t pinned_ = 0;
  std::map<const void*, std::string> names_;  ///< of streams and events
  int made_ = 0;
  std::vector<std::string> log_;
  std::vector<Operation> operations_;
};

/// Notes a kernel of kernels/ops by its arguments: what `Data` and pointers name is written, what `ConstData` and
/// pointers to const name is read. Of each the first element stands for all: collectives, which are noted with all
/// their bytes, are what kernels are compared with.
template <typename... A>
void note_kernel(const char* name, const Stream& stream, const A&... arguments) {
  EmulatedDevice* device = EmulatedDevice::watching();
  if (device == nullptr) return;
  Operation operation{Operation::Kind::work, name, stream.native(), nullptr, {}};
  const auto note_argument = [&]<typename T>(const T& argument) {
    if constexpr (std::is_same_v<T, Data>) {
      operation.touch(argument.data, true);
    } else if constexpr (std::is_same_v<T, ConstData>) {
      operation.touch(argument.data, false);
    } else if constexpr (std::is_same_v<T, UpdateArrays>) {
      operation.touch(argument.master, true);
      operation.touch(argument.gradient, false);
      operation.touch(argument.compute_copy.data, true);
    } else if constexpr (std::is_pointer_v<T>) {
      operation.touch(argument, !std::is_const_v<std::remove_pointer_t<T>>);
    }
  };
  (note_argument(arguments), ...);
  device->add(std::move(operation));
}

/// Puts an EmulatedDevice in the place of this build's runtime for the life of the object.
class WithEmulatedDevice {
 public:
  explicit WithEmulatedDevice(int count = 1) : device_(count) { replace_device_runtime(&device_); }
  WithEmulatedDevice(const WithEmulatedDevice&) = delete;
  WithEmulatedDevice& operator=(const WithEmulatedDevice&) = delete;
  ~WithEmulatedDevice() { replace_device_runtime(nullptr); }
  EmulatedDevice& operator*() noexcept { return device_; }
  EmulatedDevice* operator->() noexcept { return &device_; }

 private:
  EmulatedDevice device_;
};

}  // namespace dstrain
