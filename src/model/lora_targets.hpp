// SPDX-License-Identifier: Apache-2.0
/// The linear layers of a family's blocks, by Hugging Face's module names: what adapters are put on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/model_spec.hpp"

namespace dstrain {

/// One module of every block. Where it holds q, k and v (or gate and up), one adapter spans all of its rows, in Hugging
/// Face's order: tensors are never permuted.
struct LinearModule {
  std::string path;  ///< behind the block's number: "self_attn.q_proj"
  std::int64_t out = 0;
  std::int64_t in = 0;
  bool transposed = false;  ///< stored [in, out]: PEFT's fan_in_fan_out
};

/// In the order of the forward pass. Local.
std::vector<LinearModule> linear_modules(const ModelSpec& spec);

/// What `lora_target: all` means: the last components of their names. GPT-2's Conv1D counts, as PEFT's "all-linear" has
/// it; LLaMA-Factory's own search does not see it.
std::vector<std::string> lora_targets(const ModelSpec& spec);

}  // namespace dstrain
