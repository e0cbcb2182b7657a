// SPDX-License-Identifier: Apache-2.0
/// Ranges, and what must fit together: LLaMA-Factory's checks in its own words, and dstrain's.
#pragma once

#include <vector>

#include "config/resolve.hpp"

namespace dstrain {

/// Adds a problem for every rule that `resolved` breaks. Touches no file, device or rank. Local.
void validate(const ResolvedConfig& resolved, std::vector<ConfigProblem>& problems);

}  // namespace dstrain
