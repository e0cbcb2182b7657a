// SPDX-License-Identifier: Apache-2.0
/// Files and flags of other programs in the trainer's words.
#pragma once

#include <string>
#include <vector>

#include "config/entries.hpp"
#include "config/key_schema.hpp"
#include "config/trainer_keys.hpp"

namespace dstrain {

/// What a file of another dialect says: trainer keys, and DeepSpeed's part as its own file would say it.
struct Translation {
  std::vector<Entry> entries;
  ConfigValue deepspeed;        ///< null where there is none
  bool trainers_decay = false;  ///< which tensors decay is the trainer's rule, not "all" as in DeepSpeed's optimizer
};

/// Whose file `tree` is, by its top-level keys. Local.
Dialect dialect_of(const ConfigValue& tree);

// Each: Local. What cannot be done becomes problems of `trainer`, by key and line; what has no effect, notes.

/// accelerate's configuration, as accelerate's launcher hands it to DeepSpeed and transformers.
Translation translate_accelerate(const ConfigValue& tree, TrainerKeys& trainer);
/// gdGPT's YAML: DeepSpeed's keys beside its own. A pipeline of more than one stage is refused, with what does the
/// same.
Translation translate_gdgpt(const ConfigValue& tree, TrainerKeys& trainer);
/// DeepSpeed-Chat's step 1: `flags` holds its own flags; `given` says which trainer keys the user named. The recipe's
/// defaults are filled in.
Translation translate_deepspeed_chat(const ConfigValue& flags, const std::vector<std::string>& given,
                                     TrainerKeys& trainer);

/// A scalar, or a map, at the place of `like`; for building what a file leaves unsaid.
ConfigValue value_at(const ConfigValue& like, std::string text);
/// Puts `value` at a dotted path below `tree`, making the maps on the way.
void put_at(ConfigValue& tree, std::string_view path, ConfigValue value);

}  // namespace dstrain
