// SPDX-License-Identifier: Apache-2.0
/// A GPU's threads on one CPU thread: enough of CUDA's language to run the kernels of this folder where there is none.
///
/// Every thread of a block is a fiber with a stack of its own; __syncthreads() and shuffles switch to the next one.
/// Blocks run one after the other. The order of the fibers turns round at each switch, so that a kernel that forgets a
/// barrier reads old values here too. For tests: no speed, no concurrency.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)

namespace dstrain::simt {

struct Index {
  unsigned x = 0;
  unsigned y = 0;
  unsigned z = 0;
};

/// Of the fiber that runs.
struct Place {
  Index thread;
  Index block;
  Index block_size;
  Index grid_size;
};
extern Place place;

/// Runs `body(argument)` for every thread of every block. Not reentrant.
void run_grid(std::int64_t x, std::int64_t y, std::int64_t z, int threads, std::int64_t shared_bytes,
              void (*body)(const void*), const void* argument);

/// Calls of run_grid() so far: kernel launches.
std::int64_t grids_run() noexcept;

void sync_threads();
void sync_warp();
char* dynamic_shared();

/// `bits` of the lane whose number differs by `mask`.
std::uint64_t exchange(std::uint64_t bits, int mask);

template <typename T>
T shuffle_xor(T value, int mask) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = exchange(bits, mask);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace dstrain::simt

#define threadIdx (::dstrain::simt::place.thread)
#define blockIdx (::dstrain::simt::place.block)
#define blockDim (::dstrain::simt::place.block_size)
#define gridDim (::dstrain::simt::place.grid_size)
#define __syncthreads() ::dstrain::simt::sync_threads()
#define __syncwarp() ::dstrain::simt::sync_warp()
#define __shfl_xor_sync(lanes, value, mask) ::dstrain::simt::shuffle_xor(value, mask)
