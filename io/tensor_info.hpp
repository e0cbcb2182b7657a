// SPDX-License-Identifier: Apache-2.0
/// Name and global shape of a tensor: what files and ranks agree on.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace dstrain {

/// Product of `shape`; none where an extent is negative or the product does not fit. An empty shape (a scalar) has 1
/// element.
[[nodiscard]] constexpr std::optional<std::int64_t> checked_count(std::span<const std::int64_t> shape) noexcept {
  std::int64_t count = 1;
  bool empty = false;
  for (const auto extent : shape) {
    if (extent < 0) return std::nullopt;
    if (extent == 0) {
      empty = true;
    } else if (count > std::numeric_limits<std::int64_t>::max() / extent) {
      return std::nullopt;
    } else {
      count *= extent;
    }
  }
  return empty ? 0 : count;
}

/// A global tensor. The same list stands on all ranks.
struct TensorInfo {
  std::string name;
  std::vector<std::int64_t> shape;

  /// Elements; 0 where checked_count() has none.
  [[nodiscard]] std::int64_t count() const noexcept { return checked_count(shape).value_or(0); }
  bool operator==(const TensorInfo&) const = default;
};

/// "[2, 3]"
[[nodiscard]] std::string shape_text(std::span<const std::int64_t> shape);

}  // namespace dstrain
