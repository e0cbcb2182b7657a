// SPDX-License-Identifier: Apache-2.0
/// YAML and JSON text to a ConfigValue tree, with the line of every node.
#pragma once

#include <string>
#include <string_view>

#include "config/value.hpp"

namespace dstrain {

/// Reads one document. JSON is read as YAML's flow style, with what DeepSpeed's HJSON allows besides: `#`, `//` and `/*
/// */` comments and trailing commas (only where the text starts with `{`, so that a YAML value may hold `//`).
///
/// Local. The text is untrusted: at most 1 MiB, 64 levels and 100,000 nodes after aliases are expanded; `<<` merges and
/// tags other than the plain ones are not followed.
/// @param file  how messages and origins name it
/// @throws ConfigError  not YAML, a key twice in one map, a key that is no scalar, or over a bound; `where` is
/// file:line
ConfigValue read_yaml(std::string_view text, const std::string& file, Origin::Source source = Origin::Source::file);

/// One value of the command line, as OmegaConf reads it: `[a, b]`, `{a: 1}` and quotes as YAML, anything else is a
/// scalar.
ConfigValue read_argument(const std::string& text);

}  // namespace dstrain
