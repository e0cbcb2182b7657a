// SPDX-License-Identifier: Apache-2.0
/// The schema and a resolved configuration as text for people and programs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/key_schema.hpp"
#include "config/resolve.hpp"

namespace dstrain {

/// Everything known about one key. Local.
/// @throws ConfigError  no such key; the hint names the nearest one
std::string explain_key(std::string_view name);

/// The keys that run, of some groups or of all, as `--help` lists them: name, type, meaning, default. Local.
std::string keys_help(const std::vector<KeyGroup>& groups = {});

/// docs/config.md: every key in tables by group, old names, DeepSpeed's keys.
std::string keys_markdown();

/// Key, value and origin of every key that runs, one per line; defaults last within a group are marked as such. Then
/// the notes.
std::string config_table(const ResolvedConfig& resolved);

/// {"config": {key: {"value": ..., "origin": ...}}, "notes": [...]}
std::string config_json(const ResolvedConfig& resolved);

}  // namespace dstrain
