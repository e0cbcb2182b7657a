// SPDX-License-Identifier: Apache-2.0
/// What the kernels of this folder are written in: launches, storage types, sums over a block.
///
/// The same source is compiled twice: by nvcc for GPUs, and by the C++ compiler against emulation/simt.hpp, which runs
/// the threads of a block one after the other on a CPU. The second build is what the tests run where there is no GPU.
/// So kernels keep to what both know: no launch syntax but launch(), shared memory by DSTRAIN_SHARED and
/// dynamic_shared(), full warps at every shuffle.
#pragma once

#include <cstdint>

#include "core/rng.hpp"
#include "kernels/cuda/errors.hpp"
#include "kernels/ops/common.hpp"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#define DSTRAIN_KERNELS cuda
#define DSTRAIN_DEVICE __device__ __forceinline__
#define DSTRAIN_SHARED(type, name, count) __shared__ type name[count]
#else
#include "kernels/cuda/emulation/simt.hpp"
#define DSTRAIN_KERNELS emulated
#define DSTRAIN_DEVICE inline
#define DSTRAIN_SHARED(type, name, count) static type name[count]
#endif

namespace dstrain::DSTRAIN_KERNELS {

// NOLINTBEGIN(readability-identifier-naming)
struct Bf16 {
  std::uint16_t bits;
};
struct F16 {
  std::uint16_t bits;
};
// NOLINTEND(readability-identifier-naming)

#ifdef __CUDACC__
DSTRAIN_DEVICE float widen(Bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
DSTRAIN_DEVICE float widen(F16 x) { return __half2float(__ushort_as_half(x.bits)); }
DSTRAIN_DEVICE void narrow(Bf16& to, float x) { to.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x)); }
DSTRAIN_DEVICE void narrow(F16& to, float x) { to.bits = __half_as_ushort(__float2half_rn(x)); }
#else
inline float widen(Bf16 x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16); }
inline float widen(F16 x) { return half_to_float(x.bits); }
inline void narrow(Bf16& to, float x) { to.bits = bfloat16(x).bits; }
inline void narrow(F16& to, float x) { to.bits = half_from_float(x); }
#endif
DSTRAIN_DEVICE float widen(float x) { return x; }
DSTRAIN_DEVICE void narrow(float& to, float x) { to = x; }

/// x rounded to the storage type S and widened again.
template <typename S>
DSTRAIN_DEVICE float rounded(float x) {
  S s;
  narrow(s, x);
  return widen(s);
}

/// Index of a storage type: 0 for f32, 1 for bf16, 2 for f16.
/// @throws ShapeError  any other dtype; `operation` is named in the message
inline int storage_index(DType dtype, const char* operation) {
  if (dtype == DType::f32) return 0;
  if (dtype == DType::bf16) return 1;
  if (dtype == DType::f16) return 2;
  fail_shape(text_of("{} knows f32, bf16 and f16, not {}", operation, name_of(dtype)));
}

/// The common storage_index of all operands. @throws ShapeError  two dtypes
inline int storage_index(std::initializer_list<DType> dtypes, const char* operation) {
  for (const DType dtype : dtypes) {
    if (dtype != *dtypes.begin()) {
      fail_shape(text_of("{} takes operands of one dtype, not {} and {}", operation, name_of(*dtypes.begin()),
                         name_of(dtype)));
    }
  }
  return storage_index(*dtypes.begin(), operation);
}

/// Runs a statement with S standing for the storage type of index `storage`.
#define DSTRAIN_BY_STORAGE(storage, S, ...)       \
  do {                                            \
    const int storage_ = (storage);               \
    if (storage_ == 0) {                          \
      using S = float;                            \
      __VA_ARGS__;                                \
    } else if (storage_ == 1) {                   \
      using S = ::dstrain::DSTRAIN_KERNELS::Bf16; \
      __VA_ARGS__;                                \
    } else {                                      \
      using S = ::dstrain::DSTRAIN_KERNELS::F16;  \
      __VA_ARGS__;                                \
    }                                             \
  } while (false)

/// Blocks of a launch, and threads of a block (a multiple of 32).
struct Grid {
  std::int64_t x = 1;
  std::int64_t y = 1;
  std::int64_t z = 1;
};

inline std::int64_t div_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

#ifdef __CUDACC__
/// @throws CudaError  what CUDA says of the call
inline void check_cuda(cudaError_t status, const char* call) {
  if (status != cudaSuccess)
    fail_device(text_of("{} failed: {} ({})", call, cudaGetErrorString(status), cudaGetErrorName(status)));
}

/// Queues `kernel` on the stream of `exec`. Nothing is launched for an empty grid.
template <typename... P, typename... A>
void launch(void (*kernel)(P...), const Exec& exec, Grid grid, int threads, std::int64_t shared_bytes, A... arguments) {
  if (grid.x <= 0 || grid.y <= 0 || grid.z <= 0) return;
  if (grid.y > 65535 || grid.z > 65535 || grid.x > 0x7fffffff)
    fail_shape(text_of("a launch of {} x {} x {} blocks", grid.x, grid.y, grid.z));
  if (shared_bytes > 48 * 1024) {
    check_cuda(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shared_bytes)),
               "cudaFuncSetAttribute");
  }
  kernel<<<dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), static_cast<unsigned>(grid.z)),
           static_cast<unsigned>(threads), static_cast<std::size_t>(shared_bytes),
           static_cast<cudaStream_t>(exec.stream.native())>>>(static_cast<P>(arguments)...);
  check_cuda(cudaGetLastError(), "a kernel launch");
}

/// The block's dynamic shared memory.
DSTRAIN_DEVICE char* dynamic_shared() {
  extern __shared__ __align__(128) char dstrain_dynamic_shared[];
  return dstrain_dynamic_shared;
}
#else
template <typename... P, typename... A>
void launch(void (*kernel)(P...), const Exec& /*exec*/, Grid grid, int threads, std::int64_t shared_bytes,
            A... arguments) {
  if (grid.x <= 0 || grid.y <= 0 || grid.z <= 0) return;
  const auto run = [&] { kernel(static_cast<P>(arguments)...); };
  simt::run_grid(
      grid.x, grid.y, grid.z, threads, shared_bytes,
      [](const void* body) { (*static_cast<const decltype(run)*>(body))(); }, &run);
}

inline char* dynamic_shared() { return simt::dynamic_shared(); }
#endif

DSTRAIN_DEVICE int lane_id() { return static_cast<int>(threadIdx.x) % 32; }
DSTRAIN_DEVICE int warp_id() { return static_cast<int>(threadIdx.x) / 32; }

struct Sum {
  template <typename T>
  DSTRAIN_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
};
struct Greatest {
  DSTRAIN_DEVICE float operator()(float a, float b) const { return a > b ? a : b; }
};

/// `value` of all lanes of the warp combined, in every lane, in an order that is always the same.
template <typename T, typename Combine>
DSTRAIN_DEVICE T warp_combine(T value, Combine combine) {
  for (int step = 16; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(0xffffffffU, value, step));
  return value;
}

/// `value` of all threads of the block combined, in every thread. Every thread of the block must call it; blockDim.x is
/// a multiple of 32.
template <typename T, typename Combine>
DSTRAIN_DEVICE T block_combine(T value, Combine combine) {
  DSTRAIN_SHARED(T, partial, 32);
  value = warp_combine(value, combine);
  const int warps = static_cast<int>(blockDim.x) / 32;
  if (lane_id() == 0) partial[warp_id()] = value;
  __syncthreads();
  T total = partial[0];
  for (int w = 1; w < warps; ++w) total = combine(total, partial[w]);
  __syncthreads();  // the next call writes here
  return total;
}

template <typename T>
DSTRAIN_DEVICE T block_sum(T value) {
  return block_combine(value, Sum{});
}

/// Elements of a launch over a flat range: one thread each, as often as it takes.
inline constexpr int element_threads = 256;
inline constexpr std::int64_t most_element_blocks = 1 << 16;

template <typename Body>
__global__ void each_element(std::int64_t count, Body body) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) body(i);
}

/// Calls body(i) for every i in [0, count), each once, on the stream of `exec`.
template <typename Body>
void for_each_element(const Exec& exec, std::int64_t count, Body body) {
  const std::int64_t blocks = div_up(count, element_threads);
  launch(each_element<Body>, exec, {blocks < most_element_blocks ? blocks : most_element_blocks}, element_threads, 0,
         count, body);
}

/// What a kernel needs of an Rng, and its numbers: those of core/rng.cpp bit by bit.
struct DeviceRng {
  Rng::Key key;

  struct Four {
    std::uint32_t bits[4];
  };

  /// The 128 bits of the elements [index & ~3, index | 3].
  DSTRAIN_DEVICE Four block(std::uint64_t index) const {
    const std::uint64_t number = index >> 2;
    std::uint32_t c0 = static_cast<std::uint32_t>(number);
    std::uint32_t c1 = (static_cast<std::uint32_t>(number >> 32) & 0x00ffffffU) | (key.site << 24);
    std::uint32_t c2 = key.step;
    std::uint32_t c3 = key.sample;
    std::uint32_t k0 = static_cast<std::uint32_t>(key.seed);
    std::uint32_t k1 = static_cast<std::uint32_t>(key.seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53U} * c0;
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57U} * c2;
      const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
      const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
      c1 = static_cast<std::uint32_t>(p1);
      c3 = static_cast<std::uint32_t>(p0);
      c0 = n0;
      c2 = n2;
      k0 += 0x9E3779B9U;
      k1 += 0xBB67AE85U;
    }
    return {{c0, c1, c2, c3}};
  }
  DSTRAIN_DEVICE std::uint32_t bits(std::uint64_t index) const { return block(index).bits[index & 3U]; }
  DSTRAIN_DEVICE float uniform(std::uint64_t index) const {
    return static_cast<float>(bits(index) >> 8) * 5.9604644775390625e-8F;  // 2^-24
  }
};

}  // namespace dstrain::DSTRAIN_KERNELS
