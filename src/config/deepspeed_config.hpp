// SPDX-License-Identifier: Apache-2.0
/// DeepSpeed's configuration file beside the trainer's own keys.
#pragma once

#include "config/trainer_keys.hpp"

namespace dstrain {

/// Puts what DeepSpeed's file says into the trainer's keys.
///
/// Local. "auto" keeps the trainer's value, as transformers does. A value that transformers compares (batch sizes,
/// clipping, learning rate, moments, decay, warm-up, fp16, bf16) must equal what the user wrote for the trainer's key,
/// and all pairs that differ are one problem in transformers' words; where the user wrote nothing, DeepSpeed's value is
/// taken. For stage and bucket sizes the command line wins. The batch sizes are completed and checked by DeepSpeed's
/// rule. Unknown keys are problems, with the nearest known one.
void apply_deepspeed(const ConfigValue& file, TrainerKeys& trainer);

}  // namespace dstrain
