// SPDX-License-Identifier: Apache-2.0
/// Prompts of `dstrain generate`: from the command line or from JSON lines.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/sample.hpp"
#include "data/template.hpp"

namespace dstrain::commands {

/// A conversation that ends with a message to be answered.
struct Prompt {
  std::vector<Message> messages;
  std::string system;
  std::string tools;  ///< JSON list of tool descriptions; empty: none
};

/// One prompt per line: a JSON string, {"prompt": "...", "system": "..."} or {"messages": [{"role": ..., "content":
/// ...}, ...]}; both objects may hold "tools", a list or its JSON. Roles are system (first), user, assistant, function
/// (an answer that calls functions) and observation or tool (what they gave back).
/// @throws ConfigError  naming `where`:line and what is wrong with it
std::vector<Prompt> read_prompts(std::string_view jsonl, const std::string& where);

/// Token ids that ask for an answer: every turn as the template has it, without the last answer. Without a template the
/// last message's text goes on as it stands, with the tokens that the tokenizer puts around a text.
/// @throws ConfigError  tools without a template; as Template::render
std::vector<std::int32_t> encode_prompt(const Prompt& prompt, const Tokenizer& tokenizer,
                                        const std::optional<Template>& chat_template);

}  // namespace dstrain::commands
