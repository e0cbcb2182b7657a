// SPDX-License-Identifier: Apache-2.0
/// A loop over independent items on all threads; exceptions come out as if it had run in order.
#pragma once

#include <omp.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>

namespace dstrain {

/// Calls body(i) for i in [0, n) in any order. If some throw, the exception of the smallest i that was reached is
/// rethrown after the loop; items above it may not have run. `threads` 0: OpenMP's number.
template <typename Body>
void for_each_in_parallel(std::size_t n, int threads, const Body& body) {
  std::exception_ptr first;
  std::atomic<std::size_t> first_index{n};
  std::mutex mutex;
  const int team = threads > 0 ? threads : omp_get_max_threads();
#pragma omp parallel for schedule(dynamic, 16) num_threads(team) if (n > 16)
  for (std::size_t i = 0; i < n; ++i) {
    if (i > first_index.load(std::memory_order_relaxed)) continue;
    try {
      body(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (i < first_index.load()) {
        first_index = i;
        first = std::current_exception();
      }
    }
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace dstrain
