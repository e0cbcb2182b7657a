// SPDX-License-Identifier: Apache-2.0
/// Where work runs and in which order: the seam that a CUDA backend fills in.
#pragma once

#include <cstdint>
#include <string_view>

namespace dstrain {

enum class DeviceKind : std::uint8_t { cpu, cuda };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;  ///< CUDA device number; 0 for the CPU
};

/// An ordered queue of work on one device. On the CPU every call is complete on return and a Stream is a tag.
class Stream {
 public:
  Stream() = default;
  Stream(Device device, void* native) : device_(device), native_(native) {}
  [[nodiscard]] Device device() const noexcept { return device_; }
  [[nodiscard]] void* native() const noexcept { return native_; }  ///< cudaStream_t, or null
  /// Waits until everything queued so far is done. Local.
  void synchronize() const;

 private:
  Device device_;
  void* native_ = nullptr;
};

/// A point in a stream that other streams can wait for. On the CPU always reached.
class Event {
 public:
  void record(const Stream& stream);
  /// Work queued on `stream` after this call starts after the recorded point. Local.
  void make_wait(const Stream& stream) const;

 private:
  void* native_ = nullptr;
};

}  // namespace dstrain
