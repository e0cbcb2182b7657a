// SPDX-License-Identifier: Apache-2.0
/// Which rank owns which slice of a flat buffer. Pure arithmetic.
#pragma once

#include <algorithm>
#include <cstdint>

#include "model/layout.hpp"

namespace dstrain {

/// Equal slices of whole chunks; the last ranks may own less or nothing of the real elements (the rest is padding).
struct Partition {
  std::int64_t shard = 0;   ///< elements per rank, a multiple of the chunk
  std::int64_t padded = 0;  ///< shard * ranks: size of a gathered buffer
  std::int64_t count = 0;   ///< real elements

  [[nodiscard]] std::int64_t begin(int rank) const noexcept { return std::min(count, shard * rank); }
  [[nodiscard]] std::int64_t end(int rank) const noexcept { return std::min(count, shard * (rank + 1)); }
};

constexpr Partition partition(const PartLayout& part, int ranks) noexcept {
  const std::int64_t chunks = (part.chunks + ranks - 1) / ranks;
  return {chunks * part.chunk, chunks * part.chunk * ranks, part.count};
}

}  // namespace dstrain
