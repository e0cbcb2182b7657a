// SPDX-License-Identifier: Apache-2.0
/// What every communicator checks before it sends anything: one set of rules, one set of messages.
#pragma once

#include <span>

#include "comm/communicator.hpp"

namespace dstrain {

/// @throws ShapeError  counts that do not fit, dtypes that have no sum, null where data is needed, contributors out of
/// range
void check_reduce_scatter(std::span<const ReduceScatterPart> parts, int contributors, int rank, int size,
                          const char* label);
/// @throws ShapeError  full.count != shard.count * size, or different dtypes
void check_all_gather(std::span<const AllGatherPart> parts, int size, const char* label);
/// @throws ShapeError  a dtype that all_reduce does not combine, null data
void check_all_reduce(ConstView values, const char* label);
/// @throws ShapeError  a rank that is not in the group, or null data
void check_peer(ConstView values, int peer, int size, const char* label);

}  // namespace dstrain
