// SPDX-License-Identifier: Apache-2.0
/// A template out of the tokenizer's own chat_template, for runs that name none.
#pragma once

#include <optional>
#include <string>

#include "data/template_spec.hpp"
#include "data/tokenizer.hpp"

namespace dstrain {

/// The chat template of a model folder: chat_template.jinja, else the text in tokenizer_config.json. None where there
/// is none, or several under names.
///
/// @throws ConfigError  tokenizer_config.json is no JSON
std::optional<std::string> chat_template_source(const TokenizerFiles& files);

/// Reads slots out of a chat template by rendering conversations whose messages are "{{content}}", as LLaMA-Factory's
/// parse_template does. Stop words are none, tools are written in the default format, the system message that the chat
/// template adds by itself becomes the default one.
///
/// @throws ConfigError  the chat template uses what is not supported, or refuses a system message
TemplateSpec parse_chat_template(const std::string& source, const Tokenizer& tokenizer);

}  // namespace dstrain
