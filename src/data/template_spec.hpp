// SPDX-License-Identifier: Apache-2.0
/// Chat templates as data: what stands around the messages of a conversation.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dstrain {

/// One element of a template: a text with {{content}} and {{idx}}, a token by name, or the tokenizer's bos or eos.
struct Slot {
  enum class Kind : std::uint8_t { text, token, bos, eos };
  Kind kind = Kind::text;
  std::string text;

  Slot(const char* t) : text(t) {}             // NOLINT: a text is a slot
  Slot(std::string t) : text(std::move(t)) {}  // NOLINT
  Slot(Kind k, std::string t = {}) : kind(k), text(std::move(t)) {}
};
using Slots = std::vector<Slot>;

/// How a model marks what it thinks before it answers.
struct ThoughtWords {
  std::string open;
  std::string close;
  std::string empty;  ///< what an answer without thoughts starts with
};

/// One chat template. Names and contents are LLaMA-Factory's: 0.9.3's, and those that 0.9.5 added. An empty slot list
/// means the default of its role.
struct TemplateSpec {
  std::string name = {};
  Slots prefix = {};
  Slots system = {};             ///< default: {{content}}
  Slots user = {};               ///< default: {{content}}
  Slots assistant = {};          ///< default: {{content}}, eos; with efficient_eos {{content}}
  Slots function = {};           ///< an answer that calls functions; default: the assistant slots
  Slots observation = {};        ///< what a function gave back; default: the user slots
  std::string tool_format = {};  ///< of data/tools/tool_format.hpp; default: "default"
  std::string tools_text = {};   ///< where set, the tools' JSON stands in it as it is, whatever the format
  std::string default_system = {};
  std::vector<std::string> stop_words = {};
  /// No eos after an answer: the next turn's first label is eos, and one stands at the end.
  bool efficient_eos = false;
  bool replace_eos = false;     ///< the first stop word becomes the tokenizer's eos
  bool system_in_user = false;  ///< Llama 2's kind: the system text stands inside the first user message
  /// Set in templates of models that think: answers without thoughts get empty ones.
  std::optional<ThoughtWords> thought = {};
};

/// All templates, in the order of their names.
std::span<const TemplateSpec> template_table();

/// The template of that name, or of a name that it had once (`vanilla` is `empty`, `chatglm3_system` is `chatglm3`).
/// @throws ConfigError  "Template X does not exist." with the nearest names
const TemplateSpec& find_template(std::string_view name);

}  // namespace dstrain
