// SPDX-License-Identifier: Apache-2.0
#include "train/machine.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <tuple>

#include "comm/mpi_communicator.hpp"
#include "core/device_runtime.hpp"
#include "core/host_mirror.hpp"
#include "core/parallel.hpp"
#include "kernels/ops.hpp"

namespace dstrain {

namespace {

// Large enough for the best rate, small enough for a 60 ms look: 0.5 to 3 GFLOP a product.
constexpr std::int64_t probe_m = 512;
constexpr std::int64_t probe_n = 1024;
constexpr std::int64_t probe_k = 768;

void fill_ones(const Stream& stream, Data to, std::int64_t count) {
  HostMirror mirror(stream);
  void* at = mirror.fill(to.data, count * static_cast<std::int64_t>(size_of(to.dtype)));
  if (to.dtype == DType::bf16) {
    std::fill_n(static_cast<bfloat16*>(at), count, bfloat16(1.0F));
  } else if (to.dtype == DType::f16) {
    std::fill_n(static_cast<float16*>(at), count, float16(1.0F));
  } else {
    std::fill_n(static_cast<float*>(at), count, 1.0F);
  }
  mirror.store();
}

}  // namespace

std::int64_t matrix_peak_bytes(DType dtype, DeviceKind device) {
  const auto element = static_cast<std::int64_t>(size_of(dtype));
  const MatmulShape shape{.M = probe_m, .N = probe_n, .K = probe_k, .transpose_b = true};
  return (probe_m * probe_k + probe_n * probe_k + probe_m * probe_n) * element +
         ops::matmul_workspace_bytes(shape, dtype, dtype, device) + 4096;
}

namespace {

double measure(const Exec& exec, DType dtype, void* memory) {
  const MatmulShape shape{.M = probe_m, .N = probe_n, .K = probe_k, .transpose_b = true};
  auto take = [at = static_cast<char*>(memory)](std::int64_t bytes) mutable {
    char* begin = at;
    at += (bytes + 63) / 64 * 64;
    return static_cast<void*>(begin);
  };
  const auto element = static_cast<std::int64_t>(size_of(dtype));
  Data a{take(probe_m * probe_k * element), dtype};
  Data b{take(probe_n * probe_k * element), dtype};
  Data c{take(probe_m * probe_n * element), dtype};
  Exec with_workspace = exec;
  with_workspace.workspace_bytes = ops::matmul_workspace_bytes(shape, dtype, dtype, exec.stream.device().kind);
  with_workspace.workspace = take(with_workspace.workspace_bytes);
  fill_ones(exec.stream, a, probe_m * probe_k);  // zeros and NaNs would be faster or slower than real numbers
  fill_ones(exec.stream, b, probe_n * probe_k);

  using Clock = std::chrono::steady_clock;
  double best_s = 1e30;
  const auto start = Clock::now();
  while (std::chrono::duration<double>(Clock::now() - start).count() < 0.06) {
    const auto begin = Clock::now();
    ops::matmul(with_workspace, c, a, b, shape, false);
    exec.stream.synchronize();
    best_s = std::min(best_s, std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return 2.0 * probe_m * probe_n * probe_k / best_s;
}

}  // namespace

double measure_matrix_peak(const Exec& exec, DType dtype, void* memory) {
  static std::mutex mutex;
  static std::map<std::tuple<DType, DeviceKind, int, int>, double> measured;
  const Device device = exec.stream.device();
  const std::lock_guard lock(mutex);
  double& peak = measured[{dtype, device.kind, device.index, max_threads()}];
  if (peak == 0.0) peak = measure(exec, dtype, memory);
  return peak;
}

std::int64_t runtime_floor_bytes(int ranks, int ranks_on_node, DeviceKind device) {
  // Program, libraries, heap, JIT code and thread stacks: 11 to 19 MiB measured over models and ranks (docs/memory.md).
  constexpr std::int64_t program = std::int64_t{16} << 20;
  // cuDNN and NCCL are mapped at start, cuBLASLt where a GPU is used; they take this much without a driver
  // (docs/memory.md).
  constexpr std::int64_t linked = std::int64_t{22} << 20, loaded = std::int64_t{148} << 20;
  const std::int64_t device_libraries_bytes =
      device_runtime() == nullptr ? 0 : linked + (device == DeviceKind::cuda ? loaded : 0);
  return device_libraries_bytes + program +
         (ranks > 1 ? fixed_communicator_bytes(MpiOptions{}, ranks, ranks_on_node) : 0);
}

}  // namespace dstrain
