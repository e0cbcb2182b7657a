// SPDX-License-Identifier: Apache-2.0
/// DeepSpeed's optimizer and scheduler sections.
#pragma once

#include "config/deepspeed_mismatch.hpp"

namespace dstrain {

/// Checks `section` ({type, params}) and puts it into optim, learning_rate, adam_*, weight_decay, deepspeed_optimizer.
///
/// Local. Types are DeepSpeed's in any case, and torch's SGD and RMSprop. A parameter that is not there has DeepSpeed's
/// default, unless the user wrote the trainer's key.
void take_optimizer(const ConfigValue& section, TrainerKeys& trainer, DeepSpeedOffers& offers);

/// Checks `section` and puts it into deepspeed_scheduler. Local; call it after take_optimizer.
void take_scheduler(const ConfigValue& section, TrainerKeys& trainer, DeepSpeedOffers& offers);

}  // namespace dstrain
