// SPDX-License-Identifier: Apache-2.0
#include "cluster/preflight/gpus.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>

namespace dstrain {
namespace {

// The part of nvml.h that is used here; its interface is stable (NVML API Reference, "Device Queries").
using NvmlDevice = void*;
struct NvmlMemory {
  unsigned long long total, free, used;
};
constexpr int nvml_success = 0;

struct Close {
  void operator()(void* library) const { dlclose(library); }
};

template <typename Function>
bool load(void* library, const char* name, Function*& function) {
  void* symbol = dlsym(library, name);
  static_assert(sizeof symbol == sizeof function);
  std::memcpy(&function, &symbol, sizeof symbol);
  return symbol != nullptr;
}

struct Nvml {
  int (*init)();
  int (*shutdown)();
  int (*driver_version)(char*, unsigned);
  int (*count)(unsigned*);
  int (*by_index)(unsigned, NvmlDevice*);
  int (*name)(NvmlDevice, char*, unsigned);
  int (*uuid)(NvmlDevice, char*, unsigned);
  int (*memory)(NvmlDevice, NvmlMemory*);

  bool load_all(void* library) {
    return load(library, "nvmlInit_v2", init) && load(library, "nvmlShutdown", shutdown) &&
           load(library, "nvmlSystemGetDriverVersion", driver_version) &&
           load(library, "nvmlDeviceGetCount_v2", count) && load(library, "nvmlDeviceGetHandleByIndex_v2", by_index) &&
           load(library, "nvmlDeviceGetName", name) && load(library, "nvmlDeviceGetUUID", uuid) &&
           load(library, "nvmlDeviceGetMemoryInfo", memory);
  }
};

/// "GPU-8ca5e6f2-..." without the word and the dashes: as CUDA tells the same 16 bytes.
std::string plain_uuid(std::string_view text) {
  constexpr std::string_view word = "GPU-";
  if (text.starts_with(word)) text.remove_prefix(word.size());
  std::string plain(text);
  std::erase(plain, '-');
  return plain;
}

GpuFacts look_at(const Nvml& nvml, NvmlDevice device) {
  char text[128] = {};
  GpuFacts gpu;
  if (nvml.uuid(device, text, sizeof text - 1) == nvml_success) gpu.uuid = plain_uuid(text);
  if (nvml.name(device, text, sizeof text - 1) == nvml_success) gpu.model = text;
  NvmlMemory memory{};
  if (nvml.memory(device, &memory) == nvml_success) {
    gpu.total_bytes = static_cast<std::int64_t>(memory.total);
    gpu.free_bytes = static_cast<std::int64_t>(memory.free);
  }
  return gpu;
}

}  // namespace

GpuList list_gpus() {
  constexpr unsigned most = 64;
  GpuList list;
  const std::unique_ptr<void, Close> library(dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL));
  Nvml nvml{};
  if (library == nullptr || !nvml.load_all(library.get()) || nvml.init() != nvml_success) return list;
  char driver[96] = {};
  if (nvml.driver_version(driver, sizeof driver - 1) == nvml_success) list.driver = driver;
  unsigned count = 0;
  if (nvml.count(&count) != nvml_success) count = 0;
  for (unsigned i = 0; i < std::min(count, most); ++i) {
    if (NvmlDevice device = nullptr; nvml.by_index(i, &device) == nvml_success)
      list.devices.push_back(look_at(nvml, device));
  }
  nvml.shutdown();
  return list;
}

}  // namespace dstrain
