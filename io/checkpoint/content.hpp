// SPDX-License-Identifier: Apache-2.0
/// What a checkpoint holds: named global tensors, and for each rank the flat ranges of them that it brings.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/tensor_info.hpp"

namespace dstrain {

/// The three fp32 values that training keeps for a parameter. The names are torch's (and those of the datasets).
enum class CheckpointKind : std::uint8_t { parameter, exp_avg, exp_avg_sq };
inline constexpr int checkpoint_kinds = 3;

/// "parameter", "exp_avg", "exp_avg_sq"
[[nodiscard]] std::string_view name_of(CheckpointKind kind) noexcept;

/// Elements [begin, begin + count) of tensor `tensor`, brought by this rank. Every element is brought by exactly one
/// rank.
struct LocalSlice {
  std::int32_t tensor = 0;
  std::int64_t begin = 0;
  std::int64_t count = 0;
  const float* data = nullptr;
};

/// What one rank hands to write_checkpoint().
struct CheckpointContent {
  std::vector<TensorInfo> tensors;  ///< the same list on all ranks
  std::array<std::vector<LocalSlice>, checkpoint_kinds>
      slices;                                   ///< by CheckpointKind; a tensor's moments may be absent
  std::map<std::string, std::string> metadata;  ///< of rank 0: trainer state, config ... (JSON texts)

  [[nodiscard]] std::vector<LocalSlice>& operator[](CheckpointKind kind) {
    return slices[static_cast<std::size_t>(kind)];
  }
  [[nodiscard]] const std::vector<LocalSlice>& operator[](CheckpointKind kind) const {
    return slices[static_cast<std::size_t>(kind)];
  }
};

/// A box of a tensor: `extent` elements from `start` in every dim.
struct Block {
  std::vector<std::int64_t> start;
  std::vector<std::int64_t> extent;
};

/// The boxes that make up the flat (row-major) range [begin, begin + count) of a tensor, in flat order: for a matrix at
/// most three (end of a row, whole rows, start of a row), for d dims at most 2 d - 1. Local, pure.
[[nodiscard]] std::vector<Block> blocks_of_range(std::span<const std::int64_t> shape, std::int64_t begin,
                                                 std::int64_t count);

/// Checks names (usable as HDF5 links, not twice) and shapes of a tensor list. Local.
/// @throws Error  naming the tensor: always a bug in the caller
void check_tensor_list(std::span<const TensorInfo> tensors);

}  // namespace dstrain
