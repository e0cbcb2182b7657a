// SPDX-License-Identifier: Apache-2.0
/// The form of `dstrain export` that takes LLaMA-Factory's keys.
#pragma once

#include "commands/commands.hpp"

namespace dstrain::commands {

/// Whether the words are a configuration: a YAML file, or the key export_dir. Local.
bool asks_for_merge(const Words& words);

/// Merges adapter_name_or_path into model_name_or_path and writes export_dir. Local; holds the adapters and one piece
/// of the weights. @throws ConfigError, IoError
ExitCode export_merged(const Words& words);

}  // namespace dstrain::commands
