// SPDX-License-Identifier: Apache-2.0
/// transformers' accelerator_config: how accelerate's data loader deals rows.
#pragma once

#include <string>

#include "config/value.hpp"

namespace dstrain {

/// What in `value` (a mapping, or its JSON as a text) would change the order of rows, in words; empty where nothing
/// does: accelerate's defaults, and keys that only concern speed. Local.
std::string accelerator_config_problem(const ConfigValue& value);

/// Whether it says split_batches: the batch sizes are those of all ranks together. Local.
/// @param accelerator_config  without a problem
bool splits_batches(const ConfigValue& accelerator_config);

}  // namespace dstrain
