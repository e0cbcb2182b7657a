// SPDX-License-Identifier: Apache-2.0
/// Threads inside one rank: OpenMP's pool (the one oneDNN uses too, so that the two never compete).
#pragma once

#include <omp.h>

#include <cstdint>

namespace dstrain {

/// Threads a parallel region will get here; 1 inside a parallel region.
inline int max_threads() noexcept { return omp_in_parallel() != 0 ? 1 : omp_get_max_threads(); }

/// Calls body(begin, end) on disjoint ranges that cover [0, n), in steps of `grain`. What a range computes must not
/// depend on how the cut falls: then results are the same bits for any number of threads. `body` must not throw.
template <typename Body>
void parallel_for(std::int64_t n, std::int64_t grain, const Body& body) {
  const std::int64_t pieces = (n + grain - 1) / grain;
  const int threads = static_cast<int>(pieces < max_threads() ? pieces : max_threads());
  if (threads <= 1) {
    if (n > 0) body(std::int64_t{0}, n);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const std::int64_t t = omp_get_thread_num();
    const std::int64_t count = omp_get_num_threads();
    const std::int64_t begin = pieces * t / count * grain;
    const std::int64_t end = pieces * (t + 1) / count * grain;
    if (begin < n && begin < end) body(begin, end < n ? end : n);
  }
}

}  // namespace dstrain
