// SPDX-License-Identifier: Apache-2.0
/// DeepSpeed's configuration file beside the trainer's own keys.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "config/resolve.hpp"

namespace dstrain {

/// What is done with one key of DeepSpeed's file.
struct DeepSpeedKey {
  enum class Action {
    reads,   ///< goes into a RunConfig member, or is compared with one
    noted,   ///< accepted: it tunes a mechanism that dstrain has not, the numbers stay the same
    refused  ///< an error unless "auto" or one of `off`
  };
  std::string_view name;  ///< dotted; "section.*" stands for everything in it
  Action action;
  std::string_view off;  ///< values that mean "off", separated by '|'
  std::string_view why;
};

std::span<const DeepSpeedKey> deepspeed_keys();

/// Puts what `file` says into `resolved`.
///
/// Local. "auto" keeps the trainer's value. As in transformers, batch sizes that are not auto must equal the trainer's;
/// bf16 and gradient_clipping set what the user left open and must equal what the user set. Explicit zero_stage and
/// bucket sizes on the command line win over the file. Unknown keys are problems, with the nearest known one.
void apply_deepspeed(const ConfigValue& file, const ResolveOptions& options, ResolvedConfig& resolved,
                     std::vector<ConfigProblem>& problems);

}  // namespace dstrain
