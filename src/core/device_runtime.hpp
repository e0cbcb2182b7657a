// SPDX-License-Identifier: Apache-2.0
/// What the host asks of a kind of device: memory, streams, events. One implementation per build (CUDA), one for tests.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/device.hpp"
#include "core/error.hpp"

namespace dstrain {

/// A call of CUDA, cuBLASLt or NCCL failed.
class CudaError : public Error {
  using Error::Error;
};

struct DeviceMemory {
  std::int64_t free = 0;
  std::int64_t total = 0;
};

/// Functions throw CudaError. "Queued" calls return before their work is done.
class DeviceRuntime {
 public:
  DeviceRuntime() = default;
  DeviceRuntime(const DeviceRuntime&) = delete;
  DeviceRuntime& operator=(const DeviceRuntime&) = delete;
  virtual ~DeviceRuntime() = default;

  /// Devices that this process may use; 0 without a driver. Never throws for a machine without any.
  [[nodiscard]] virtual int count() = 0;
  /// Why count() is 0, in a few words ("no CUDA driver"); empty where it is not.
  [[nodiscard]] virtual std::string why_none() = 0;
  /// "NVIDIA H100 80GB HBM3, compute capability 9.0".
  [[nodiscard]] virtual std::string describe(int index) = 0;
  /// The same text for the same piece of hardware in every process of a machine.
  [[nodiscard]] virtual std::string identity(int index) = 0;
  /// Later calls of this thread are meant for device `index`.
  virtual void use(int index) = 0;
  /// Of the device in use.
  [[nodiscard]] virtual DeviceMemory memory() = 0;

  [[nodiscard]] virtual void* allocate(std::int64_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  /// Host memory that the device reads and writes too.
  [[nodiscard]] virtual void* allocate_pinned(std::int64_t bytes) = 0;
  virtual void release_pinned(void* memory) noexcept = 0;

  /// Queued.
  virtual void copy(void* stream, void* to, const void* from, std::int64_t bytes) = 0;
  virtual void zero(void* stream, void* at, std::int64_t bytes) = 0;

  [[nodiscard]] virtual void* create_stream() = 0;
  virtual void destroy_stream(void* stream) noexcept = 0;
  virtual void synchronize(void* stream) = 0;
  [[nodiscard]] virtual void* create_event() = 0;
  virtual void destroy_event(void* event) noexcept = 0;
  virtual void record(void* event, void* stream) = 0;
  virtual void wait(void* stream, void* event) = 0;
  /// The host waits.
  virtual void synchronize_event(void* event) = 0;
};

/// The runtime of this build, null where there is none (a build without CUDA). Local.
DeviceRuntime* device_runtime() noexcept;

/// Puts another runtime in its place, or back with null: for tests. Not while anything of the old one lives.
void replace_device_runtime(DeviceRuntime* runtime) noexcept;

/// The runtime where a device is needed. @throws CudaError  this build has none
DeviceRuntime& require_device_runtime();

/// "CUDA 13.0, cuBLASLt 13.1, cuDNN 9.19, NCCL 2.28.9": the libraries that this build runs on, empty without CUDA.
std::string device_libraries();

/// What `device:` asks for.
enum class DeviceWish : std::uint8_t { automatic, cpu, cuda };
/// "auto", "cpu", "cuda". @throws ConfigError
DeviceWish parse_device_wish(std::string_view text);

/// Which device a process takes.
struct DeviceChoice {
  Device device;
  bool shared = false;  ///< others of its node have the same one
};

/// The device of the process that is number `local_rank` of `local_size` on its node: device local_rank mod count, so
/// that neighbours have different ones as long as they last. Pure.
/// @param count  devices that the process sees; where a launcher gave each process its own, 1
/// @throws ConfigError  `cuda` is asked for and there is none (`why_none`); or ranks would share a device without
/// `oversubscribe`
DeviceChoice choose_device(DeviceWish wish, int local_rank, int local_size, int count, std::string_view why_none,
                           bool oversubscribe);

}  // namespace dstrain
