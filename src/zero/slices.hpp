// SPDX-License-Identifier: Apache-2.0
/// Flat slices of units as ranges of tensors. Private to src/zero.
#pragma once

#include <vector>

#include "zero/zero_memory.hpp"

namespace dstrain {

/// The ranges of tensors whose state `rank` keeps, by unit and offset, pointers null. Local, pure.
std::vector<OwnedSlice> kept_slices(const ModelLayout& layout, const ZeroBuffers& buffers, int rank);

/// The ranges of tensors in `rank`'s slice, also where everybody keeps everything. Local, pure.
std::vector<OwnedSlice> shard_slices(const ModelLayout& layout, const ZeroBuffers& buffers, int rank);

/// kept_slices() of this rank with their places in memory.
std::vector<OwnedSlice> slices_in_memory(const ModelLayout& layout, const ZeroMemory& memory);

}  // namespace dstrain
