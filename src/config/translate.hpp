// SPDX-License-Identifier: Apache-2.0
/// The configuration file and the command line, whoever's words they are in, as input for the trainer's keys.
#pragma once

#include <vector>

#include "config/arguments.hpp"
#include "config/entries.hpp"
#include "config/resolve.hpp"
#include "config/trainer_keys.hpp"

namespace dstrain {

/// What merge_entries takes, and what goes its own way.
struct TranslatedInput {
  std::vector<Entry> base;      ///< what other dialects say; everything below counts more
  ConfigValue file;             ///< the trainer's file, or null where the file is another program's
  Arguments arguments;          ///< without other programs' flags
  ConfigValue deepspeed;        ///< DeepSpeed's part, or null
  bool trainers_decay = false;  ///< as in Translation
  bool partial = false;         ///< the file is another program's and no run of its own: DeepSpeed's or accelerate's
};

/// Reads the configuration file and translates what is not the trainer's. Local.
/// @throws ConfigError  the file cannot be read or is no mapping; everything else becomes problems of `trainer`
TranslatedInput translate_input(const Arguments& arguments, const FileAccess& files, TrainerKeys& trainer);

}  // namespace dstrain
