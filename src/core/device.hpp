// SPDX-License-Identifier: Apache-2.0
/// Where work runs and in which order: on the CPU at once, on a GPU in the order of streams.
#pragma once

#include <cstdint>
#include <utility>

namespace dstrain {

enum class DeviceKind : std::uint8_t { cpu, cuda };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;  ///< CUDA device number; 0 for the CPU
};

/// An ordered queue of work on one device. On the CPU every call is complete on return and a Stream is a tag. Does not
/// own what it names (OwnedStream does): a null `native` is the device's default stream.
class Stream {
 public:
  Stream() = default;
  Stream(Device device, void* native) : device_(device), native_(native) {}
  [[nodiscard]] Device device() const noexcept { return device_; }
  [[nodiscard]] void* native() const noexcept { return native_; }  ///< cudaStream_t, or null
  [[nodiscard]] bool on_device() const noexcept { return device_.kind == DeviceKind::cuda; }
  /// Waits until everything queued so far is done. Local.
  void synchronize() const;

 private:
  Device device_;
  void* native_ = nullptr;
};

/// A stream of its own on a device, for work beside the default stream's; on the CPU the tag again.
class OwnedStream {
 public:
  explicit OwnedStream(Device device);
  OwnedStream(OwnedStream&& other) noexcept : stream_(std::exchange(other.stream_, Stream())) {}
  OwnedStream& operator=(OwnedStream&& other) noexcept {
    std::swap(stream_, other.stream_);
    return *this;
  }
  ~OwnedStream();
  [[nodiscard]] const Stream& get() const noexcept { return stream_; }

 private:
  Stream stream_;
};

/// A point in a stream that other streams can wait for. On the CPU always reached, and so before the first record().
class Event {
 public:
  Event() = default;
  Event(Event&& other) noexcept : native_(std::exchange(other.native_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(native_, other.native_);
    return *this;
  }
  ~Event();
  /// The point is where `stream` stands now. The first call on a device's stream makes the event there. Local.
  void record(const Stream& stream);
  /// Work queued on `stream` after this call starts after the recorded point. Local.
  void make_wait(const Stream& stream) const;

 private:
  void* native_ = nullptr;
};

/// Copies bytes between any two places that the stream's device reaches (host memory too) in the order of the stream.
/// From pageable host memory the source may change after the call; pinned memory must stay until the stream has come so
/// far. On the CPU the copy is done on return. Local.
void copy_bytes(const Stream& stream, void* to, const void* from, std::int64_t bytes);

/// Zeros bytes in the order of the stream. Local.
void zero_bytes(const Stream& stream, void* at, std::int64_t bytes);

}  // namespace dstrain
