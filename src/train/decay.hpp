// SPDX-License-Identifier: Apache-2.0
/// Which parameters get weight decay.
#pragma once

#include <string_view>

namespace dstrain {

/// transformers 4.52's rule: every parameter whose lower-cased name contains none of `bias`, `layernorm`, `rmsnorm`
/// (and is no LayerNorm's). So Llama's final `model.norm.weight` decays and `input_layernorm.weight` does not.
bool decays_by_default(std::string_view name);

}  // namespace dstrain
