// SPDX-License-Identifier: Apache-2.0
/// Flat slices of units as ranges of tensors. Private to src/zero.
#pragma once

#include <vector>

#include "zero/zero_memory.hpp"

namespace dstrain {

/// The states of a range of a tensor, pointers null. Local, pure.
std::array<StateSlice, most_states> states_of(const TensorUpdate& update, const TensorLayout& tensor,
                                              const OwnedSlice& slice);

/// The rows that hold the optimizer states of any rank: sizes are those of the rank that keeps most. Local, pure.
/// @param buffers  units and updates are set
std::vector<StateRow> state_rows(const ModelLayout& layout, const ZeroBuffers& buffers);

/// The ranges of tensors whose state `rank` keeps, by unit and offset, pointers null. Local, pure.
std::vector<OwnedSlice> kept_slices(const ModelLayout& layout, const ZeroBuffers& buffers, int rank);

/// The ranges of tensors in `rank`'s slice, also where everybody keeps everything. Local, pure.
std::vector<OwnedSlice> shard_slices(const ModelLayout& layout, const ZeroBuffers& buffers, int rank);

/// kept_slices() of this rank with their places in memory.
std::vector<OwnedSlice> slices_in_memory(const ModelLayout& layout, const ZeroMemory& memory);

}  // namespace dstrain
