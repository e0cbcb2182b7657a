// SPDX-License-Identifier: Apache-2.0
/// The words of a command line to one configuration file and a list of keys with values.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/value.hpp"

namespace dstrain {

/// What the user asked for, before any file is read.
struct Arguments {
  std::optional<std::string> config_file;                      ///< *.yaml, *.yml or *.json
  std::vector<std::pair<std::string, ConfigValue>> overrides;  ///< dotted key, value; later ones win
};

/// Understands, in any order: one configuration file; `key=value` and `a.b=value` (OmegaConf); `--key value`,
/// `--key=value`,
/// `--key` alone and `--no_key` for booleans, `--some-key` (HfArgumentParser); and drops what launchers leave:
/// `--local_rank=N`, a script name (`src/train.py`), the words `train`, `llamafactory-cli`, `deepspeed`, ..., and
/// DeepSpeed's `--deepspeed` where no file follows.
///
/// Local. Keys are not looked up here except to know which flags take a value: unknown ones come out as they are.
/// @throws ConfigError  two configuration files, a word that is none of these, or a flag without its value
Arguments parse_arguments(const std::vector<std::string>& words);

}  // namespace dstrain
