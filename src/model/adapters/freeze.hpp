// SPDX-License-Identifier: Apache-2.0
/// Which tensors `finetuning_type: freeze` trains.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/adapters/tuning.hpp"

namespace dstrain {

/// LLaMA-Factory's rule (model/adapter.py, _setup_freeze_tuning): a parameter is trained where its name contains
/// ".<block>.<module>" of a chosen block and module, or the name of an extra module.
class FrozenChoice {
 public:
  /// @throws ConfigError  a module that the model has not (with the names it has), or a number of layers that does not
  /// divide the blocks (use_llama_pro)
  FrozenChoice(const ModelSpec& spec, const ModelLayout& layout, const FreezeOptions& options);
  [[nodiscard]] bool trains(const std::string& tensor_name) const;

 private:
  std::vector<std::string> fragments_;
};

/// The last block of each of `trainable_layers` equal runs of blocks: LLaMA Pro's copies (Wu et al., arXiv:2401.02415).
/// @throws ConfigError  it does not divide `blocks`
std::vector<std::int64_t> expanded_blocks(std::int64_t blocks, std::int64_t trainable_layers);

}  // namespace dstrain
