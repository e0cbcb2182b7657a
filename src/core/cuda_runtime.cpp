// SPDX-License-Identifier: Apache-2.0
/// The CUDA runtime as a DeviceRuntime. Linked statically: the program starts where there is no driver.
#include <cuda_runtime.h>
#include <cudnn.h>
#include <nccl.h>

#include "core/cublaslt.hpp"
#include "core/device_runtime.hpp"

namespace dstrain {

namespace {

void check(cudaError_t status, const char* call) {
  if (status != cudaSuccess) {
    throw CudaError(fmt::format("{} failed: {} ({})", call, cudaGetErrorString(status), cudaGetErrorName(status)));
  }
}

class CudaRuntime final : public DeviceRuntime {
 public:
  int count() override {
    int devices = 0;
    status_ = cudaGetDeviceCount(&devices);
    if (status_ == cudaSuccess) return devices;
    static_cast<void>(cudaGetLastError());  // not an error of a later call
    return 0;
  }
  std::string why_none() override {
    if (count() > 0) return "";
    if (status_ == cudaErrorInsufficientDriver) return "this machine has no CUDA driver (or one too old)";
    if (status_ == cudaErrorNoDevice || status_ == cudaSuccess) return "this machine has no GPU that CUDA can use";
    return fmt::format("CUDA says \"{}\"", cudaGetErrorString(status_));
  }
  std::string describe(int index) override {
    const cudaDeviceProp p = properties(index);
    return fmt::format("{}, compute capability {}.{}", p.name, p.major, p.minor);
  }
  std::string identity(int index) override {
    const cudaDeviceProp p = properties(index);
    std::string text;
    for (const char byte : p.uuid.bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
    return text;
  }
  void use(int index) override { check(cudaSetDevice(index), "cudaSetDevice"); }
  DeviceMemory memory() override {
    std::size_t free = 0;
    std::size_t total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    return {static_cast<std::int64_t>(free), static_cast<std::int64_t>(total)};
  }

  void* allocate(std::int64_t bytes) override {
    void* memory = nullptr;
    check(cudaMalloc(&memory, static_cast<std::size_t>(bytes)), "cudaMalloc");
    return memory;
  }
  void release(void* memory) noexcept override { static_cast<void>(cudaFree(memory)); }
  void* allocate_pinned(std::int64_t bytes) override {
    void* memory = nullptr;
    check(cudaHostAlloc(&memory, static_cast<std::size_t>(bytes), cudaHostAllocPortable | cudaHostAllocMapped),
          "cudaHostAlloc");
    return memory;
  }
  void release_pinned(void* memory) noexcept override { static_cast<void>(cudaFreeHost(memory)); }

  void copy(void* stream, void* to, const void* from, std::int64_t bytes) override {
    check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDefault, native(stream)),
          "cudaMemcpyAsync");
  }
  void zero(void* stream, void* at, std::int64_t bytes) override {
    check(cudaMemsetAsync(at, 0, static_cast<std::size_t>(bytes), native(stream)), "cudaMemsetAsync");
  }

  void* create_stream() override {
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    return stream;
  }
  void destroy_stream(void* stream) noexcept override { static_cast<void>(cudaStreamDestroy(native(stream))); }
  void synchronize(void* stream) override { check(cudaStreamSynchronize(native(stream)), "cudaStreamSynchronize"); }
  void* create_event() override {
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    return event;
  }
  void destroy_event(void* event) noexcept override {
    static_cast<void>(cudaEventDestroy(static_cast<cudaEvent_t>(event)));
  }
  void record(void* event, void* stream) override {
    check(cudaEventRecord(static_cast<cudaEvent_t>(event), native(stream)), "cudaEventRecord");
  }
  void wait(void* stream, void* event) override {
    check(cudaStreamWaitEvent(native(stream), static_cast<cudaEvent_t>(event), 0), "cudaStreamWaitEvent");
  }
  void synchronize_event(void* event) override {
    check(cudaEventSynchronize(static_cast<cudaEvent_t>(event)), "cudaEventSynchronize");
  }

 private:
  static cudaStream_t native(void* stream) noexcept { return static_cast<cudaStream_t>(stream); }
  static cudaDeviceProp properties(int index) {
    cudaDeviceProp p{};
    check(cudaGetDeviceProperties(&p, index), "cudaGetDeviceProperties");
    return p;
  }

  cudaError_t status_ = cudaSuccess;
};

}  // namespace

DeviceRuntime& cuda_runtime() noexcept {
  static CudaRuntime runtime;
  return runtime;
}

namespace {

std::string cublaslt_text() {
  try {
    const std::size_t version = cublaslt().get_version();
    return fmt::format("cuBLASLt {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
  } catch (const CudaError&) {
    return "cuBLASLt not found";
  }
}

}  // namespace

std::string device_libraries() {
  int runtime = 0;
  static_cast<void>(cudaRuntimeGetVersion(&runtime));
  int nccl = 0;
  static_cast<void>(ncclGetVersion(&nccl));
  const std::size_t dnn = cudnnGetVersion();
#ifdef DSTRAIN_CUDNN_FRONTEND_VERSION
  constexpr const char* attention = "attention with frontend " DSTRAIN_CUDNN_FRONTEND_VERSION;
#else
  constexpr const char* attention = "attention not built in";
#endif
  return fmt::format("CUDA {}.{}, {}, cuDNN {}.{}.{} ({}), NCCL {}.{}.{}", runtime / 1000, runtime % 1000 / 10,
                     cublaslt_text(), dnn / 10000, dnn / 100 % 100, dnn % 100, attention, nccl / 10000,
                     nccl / 100 % 100, nccl % 100);
}

}  // namespace dstrain
