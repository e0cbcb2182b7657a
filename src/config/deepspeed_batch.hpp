// SPDX-License-Identifier: Apache-2.0
/// DeepSpeed's three batch sizes: train_batch_size = micro-batch * accumulation * ranks.
#pragma once

#include <optional>
#include <string>

#include "config/deepspeed_mismatch.hpp"

namespace dstrain {

/// What the file says; none where a key is absent or "auto".
struct DeepSpeedBatch {
  std::optional<ConfigValue> all, micro, steps;
  bool micro_is_trainers = false;   ///< the file has the key and it is "auto"
  bool steps_are_trainers = false;  ///< likewise
};

/// Sets the trainer's batch keys where they are open, by DeepSpeed's rule for absent ones, and compares the others.
///
/// Local. Where the number of ranks is not known, train_batch_size is left for later, with a note.
/// @return  a line about the identity for the list of differences, or empty
std::string complete_batch(const DeepSpeedBatch& batch, TrainerKeys& trainer, DeepSpeedOffers& offers);

}  // namespace dstrain
