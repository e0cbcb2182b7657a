// SPDX-License-Identifier: Apache-2.0
/// Bytes between host and device in the order of a stream.
#pragma once

#include <cstring>

#include "kernels/cuda/simt.hpp"

namespace dstrain::DSTRAIN_KERNELS {

#ifdef __CUDACC__
/// Queues a copy of host memory, which may change as soon as the call returns (pageable memory is staged by CUDA;
/// pinned memory must stay until the stream has come so far).
inline void copy_from_host(const Exec& exec, void* device, const void* host, std::int64_t bytes) {
  check_cuda(cudaMemcpyAsync(device, host, static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice,
                             static_cast<cudaStream_t>(exec.stream.native())),
             "cudaMemcpyAsync");
}

/// Copies to host memory and waits for it.
inline void copy_to_host(const Exec& exec, void* host, const void* device, std::int64_t bytes) {
  const auto stream = static_cast<cudaStream_t>(exec.stream.native());
  check_cuda(cudaMemcpyAsync(host, device, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToHost, stream),
             "cudaMemcpyAsync");
  check_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}
/// A number of the device, for sums that the host waits for. One per process and device, made at its first use.
inline double* device_number() {
  static double* number = [] {
    void* memory = nullptr;
    check_cuda(cudaMalloc(&memory, sizeof(double)), "cudaMalloc");
    return static_cast<double*>(memory);
  }();
  return number;
}
#else
inline double* device_number() {
  static double number = 0.0;
  return &number;
}
inline void copy_from_host(const Exec& /*exec*/, void* device, const void* host, std::int64_t bytes) {
  std::memcpy(device, host, static_cast<std::size_t>(bytes));
}
inline void copy_to_host(const Exec& /*exec*/, void* host, const void* device, std::int64_t bytes) {
  std::memcpy(host, device, static_cast<std::size_t>(bytes));
}
#endif

}  // namespace dstrain::DSTRAIN_KERNELS
