// SPDX-License-Identifier: Apache-2.0
/// The part of Jinja that chat templates are written in.
#pragma once

#include <string>
#include <string_view>

#include "data/jinja/value.hpp"

namespace dstrain::jinja {

/// Renders `source` with `variables`, as transformers' apply_chat_template does: blocks trim their line (trim_blocks,
/// lstrip_blocks), tojson keeps non-ASCII characters, and `raise_exception`, `strftime_now`, `generation`, `break` and
/// `continue` are there.
///
/// Local. Bounded in depth, steps and output, whatever the template says.
/// @throws ConfigError  syntax or a function that is not supported, an error of the template, raise_exception
std::string render(std::string_view source, const Dict& variables);

}  // namespace dstrain::jinja
