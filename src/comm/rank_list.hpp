// SPDX-License-Identifier: Apache-2.0
/// Ranks in messages.
#pragma once

#include <string>
#include <vector>

namespace dstrain {

/// "0-2, 5" for ascending ranks. Local, pure.
std::string rank_list(const std::vector<int>& ranks);

/// "rank 5" or "ranks 0-2, 5", and where they run: "ranks 4-7 (node2)". Hosts are left out where all ranks of the job
/// are on one, or these are on more than three.
/// @param hosts  of every rank of the job
std::string name_ranks(const std::vector<int>& ranks, const std::vector<std::string>& hosts);

}  // namespace dstrain
