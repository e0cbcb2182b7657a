// SPDX-License-Identifier: Apache-2.0
#include "core/device.hpp"

#include <atomic>
#include <cstring>

#include "core/device_runtime.hpp"

namespace dstrain {

#ifdef DSTRAIN_WITH_CUDA
DeviceRuntime& cuda_runtime() noexcept;  // core/cuda_runtime.cpp
#endif

namespace {

std::atomic<DeviceRuntime*>& replaced() noexcept {
  static std::atomic<DeviceRuntime*> runtime{nullptr};
  return runtime;
}

}  // namespace

DeviceRuntime* device_runtime() noexcept {
  if (DeviceRuntime* runtime = replaced().load()) return runtime;
#ifdef DSTRAIN_WITH_CUDA
  return &cuda_runtime();
#else
  return nullptr;
#endif
}

void replace_device_runtime(DeviceRuntime* runtime) noexcept { replaced().store(runtime); }

DeviceRuntime& require_device_runtime() {
  DeviceRuntime* runtime = device_runtime();
  if (runtime == nullptr) throw CudaError("this build of dstrain has no CUDA backend", {}, "build preset cuda");
  return *runtime;
}

// The CPU runs every call to its end, so order is program order.
void Stream::synchronize() const {
  if (on_device()) require_device_runtime().synchronize(native_);
}

OwnedStream::OwnedStream(Device device) : stream_(device, nullptr) {
  if (device.kind == DeviceKind::cuda) stream_ = Stream(device, require_device_runtime().create_stream());
}

OwnedStream::~OwnedStream() {
  if (stream_.native() != nullptr) require_device_runtime().destroy_stream(stream_.native());
}

Event::~Event() {
  if (native_ != nullptr) require_device_runtime().destroy_event(native_);
}

void Event::record(const Stream& stream) {
  if (!stream.on_device()) return;
  DeviceRuntime& runtime = require_device_runtime();
  if (native_ == nullptr) native_ = runtime.create_event();
  runtime.record(native_, stream.native());
}

void Event::make_wait(const Stream& stream) const {
  if (native_ != nullptr && stream.on_device()) require_device_runtime().wait(stream.native(), native_);
}

void copy_bytes(const Stream& stream, void* to, const void* from, std::int64_t bytes) {
  if (bytes == 0 || to == from) return;
  if (stream.on_device()) {
    require_device_runtime().copy(stream.native(), to, from, bytes);
  } else {
    std::memmove(to, from, static_cast<std::size_t>(bytes));
  }
}

void zero_bytes(const Stream& stream, void* at, std::int64_t bytes) {
  if (bytes == 0) return;
  if (stream.on_device()) {
    require_device_runtime().zero(stream.native(), at, bytes);
  } else {
    std::memset(at, 0, static_cast<std::size_t>(bytes));
  }
}

DeviceWish parse_device_wish(std::string_view text) {
  if (text == "auto") return DeviceWish::automatic;
  if (text == "cpu") return DeviceWish::cpu;
  if (text == "cuda") return DeviceWish::cuda;
  throw ConfigError(fmt::format("device: \"{}\" is unknown", text), "device", "use auto, cpu or cuda");
}

DeviceChoice choose_device(DeviceWish wish, int local_rank, int local_size, int count, std::string_view why_none,
                           bool oversubscribe) {
  if (wish == DeviceWish::cpu || (wish == DeviceWish::automatic && count == 0)) return {};
  if (count == 0) {
    throw ConfigError(fmt::format("device: cuda is asked for, but {}", why_none), "device",
                      "use device: cpu, or device: auto to take a GPU only where there is one");
  }
  // A launcher may give each process its own device (CUDA_VISIBLE_DEVICES): whether it did shows in their identities.
  const bool shared = count > 1 && local_size > count;
  if (shared && !oversubscribe) {
    throw ConfigError(fmt::format("{} ranks of a node would share {} GPUs", local_size, count), "device",
                      "start one rank per GPU, or set device_oversubscribe: true (slow: ranks that share a GPU talk "
                      "through host memory)");
  }
  return {{DeviceKind::cuda, local_rank % count}, shared};
}

}  // namespace dstrain
