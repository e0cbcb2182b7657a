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

#include "core/dtype.hpp"
#include "io/tensor_info.hpp"

namespace dstrain {

/// What training keeps for a parameter: its value and the states of optimizers. The names are the fields of torch's,
/// transformers' and bitsandbytes' optimizer states, and those of the datasets.
enum class CheckpointKind : std::uint8_t {
  parameter,
  exp_avg,
  exp_avg_sq,
  momentum_buffer,
  sum,
  square_avg,
  grad_avg,
  exp_avg_sq_row,
  exp_avg_sq_col,
  state1,
  absmax1,
  state2,
  absmax2,
  exp_avg_bf16,
  exp_avg_sq_bf16
};
inline constexpr int checkpoint_kinds = 15;

/// All of them, in the order of their numbers.
[[nodiscard]] constexpr std::array<CheckpointKind, checkpoint_kinds> all_checkpoint_kinds() noexcept {
  std::array<CheckpointKind, checkpoint_kinds> kinds{};
  for (int k = 0; k < checkpoint_kinds; ++k) kinds[static_cast<std::size_t>(k)] = static_cast<CheckpointKind>(k);
  return kinds;
}

/// "parameter", "exp_avg", ...
[[nodiscard]] std::string_view name_of(CheckpointKind kind) noexcept;
/// The kind of that name. @throws Error  there is none: always a bug in the caller
[[nodiscard]] CheckpointKind checkpoint_kind(std::string_view name);
/// f32, u8 for codes of 8 bits, or bf16.
[[nodiscard]] DType storage_of(CheckpointKind kind) noexcept;
/// The shape of a kind for a parameter of `shape`: the same; without its last dim (exp_avg_sq_row) or the one before
/// (exp_avg_sq_col); one number for each 256 elements (absmax1, absmax2). Local, pure.
[[nodiscard]] std::vector<std::int64_t> shape_of(CheckpointKind kind, std::span<const std::int64_t> shape);
/// Bytes of one element.
[[nodiscard]] inline std::int64_t element_bytes(CheckpointKind kind) noexcept {
  return static_cast<std::int64_t>(size_of(storage_of(kind)));
}
/// Elements of that shape. Local, pure.
[[nodiscard]] std::int64_t count_of(CheckpointKind kind, const TensorInfo& tensor);

/// Elements [begin, begin + count) of one kind of tensor `tensor`, brought by this rank. Every element is brought by
/// exactly one rank.
struct LocalSlice {
  std::int32_t tensor = 0;
  std::int64_t begin = 0;
  std::int64_t count = 0;
  const void* data = nullptr;  ///< of the kind's dtype
};

/// What one rank hands to write_checkpoint().
struct CheckpointContent {
  std::vector<TensorInfo> tensors;                               ///< the same list on all ranks
  std::array<std::vector<LocalSlice>, checkpoint_kinds> slices;  ///< by CheckpointKind; a tensor's states may be absent
  std::map<std::string, std::string> metadata;                   ///< of rank 0: trainer state, config ... (JSON texts)

  [[nodiscard]] std::vector<LocalSlice>& operator[](CheckpointKind kind) {
    return slices[static_cast<std::size_t>(kind)];
  }
  [[nodiscard]] const std::vector<LocalSlice>& operator[](CheckpointKind kind) const {
    return slices[static_cast<std::size_t>(kind)];
  }
};

/// A box of a tensor: `extent` elements from `start` in every dim.
struct TensorBox {
  std::vector<std::int64_t> start;
  std::vector<std::int64_t> extent;
};

/// The boxes that make up the flat (row-major) range [begin, begin + count) of a tensor, in flat order: for a matrix at
/// most three (end of a row, whole rows, start of a row), for d dims at most 2 d - 1. Local, pure.
[[nodiscard]] std::vector<TensorBox> boxes_of_range(std::span<const std::int64_t> shape, std::int64_t begin,
                                                    std::int64_t count);

/// Checks names (usable as HDF5 links, not twice) and shapes of a tensor list. Local.
/// @throws Error  naming the tensor: always a bug in the caller
void check_tensor_list(std::span<const TensorInfo> tensors);

}  // namespace dstrain
