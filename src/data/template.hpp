// SPDX-License-Identifier: Apache-2.0
/// Chat templates: how a conversation becomes the text a model was trained on.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/sample.hpp"
#include "data/tokenizer.hpp"

namespace dstrain {

/// One element of a template: a text with {{content}} and {{idx}}, a token by name, or the tokenizer's bos or eos.
struct Slot {
  enum class Kind : std::uint8_t { text, token, bos, eos };
  Kind kind = Kind::text;
  std::string_view text;  ///< of the template table, which lives for ever

  constexpr Slot(const char* t) : text(t) {}  // NOLINT: a text is a slot
  constexpr Slot(Kind k, std::string_view t = {}) : kind(k), text(t) {}
};
using Slots = std::vector<Slot>;

/// One chat template as data. Names and contents are LLaMA-Factory's (0.9.3); an empty slot list means the default of
/// its role.
struct TemplateSpec {
  std::string_view name = {};
  Slots prefix = {};
  Slots system = {"{{content}}"};
  Slots user = {"{{content}}"};
  Slots assistant = {};    ///< default: {{content}}, eos; with efficient_eos {{content}}
  Slots observation = {};  ///< default: the user slots
  std::string_view default_system = {};
  std::vector<std::string_view> stop_words = {};
  bool efficient_eos =
      false;                 ///< no eos after an answer: the next turn's first label is eos, and one stands at the end
  bool replace_eos = false;  ///< the first stop word becomes the tokenizer's eos
  bool system_in_user = false;  ///< Llama 2's kind: the system text stands inside the first user message
};

/// All templates. Adding one is adding a row.
std::span<const TemplateSpec> template_table();

/// An element with its contents filled in: what is encoded by one call of the tokenizer.
struct Element {
  Slot::Kind kind = Slot::Kind::text;
  std::string text;
};

/// Question and answer of one turn, as token ids.
struct EncodedTurn {
  std::vector<std::int32_t> source;
  std::vector<std::int32_t> target;
};

/// A template bound to the settings of a run.
class Template {
 public:
  /// @param default_system  the config key; overrides the template's
  /// @throws ConfigError  "Template X does not exist." with the nearest names
  explicit Template(std::string_view name, std::optional<std::string> default_system = std::nullopt);

  [[nodiscard]] const TemplateSpec& spec() const noexcept { return *spec_; }
  [[nodiscard]] bool efficient_eos() const noexcept { return spec_->efficient_eos; }
  [[nodiscard]] const std::string& default_system() const noexcept { return default_system_; }

  /// Gives `tokenizer` the eos, pad and stop words the template needs. Returns how many tokens are new to its
  /// vocabulary.
  int fix_tokenizer(Tokenizer& tokenizer) const;

  /// The elements of every message, in order; roles must alternate (even: user or observation, odd: assistant or
  /// function).
  /// @throws ConfigError  tools or a function message: tool formats are not part of this version
  [[nodiscard]] std::vector<std::vector<Element>> render(std::span<const Message> messages, const std::string& system,
                                                         const std::string& tools) const;

  /// Turns of a conversation with an even number of messages. Every element is encoded by its own call; texts are never
  /// joined before. @throws as render
  [[nodiscard]] std::vector<EncodedTurn> encode(const Tokenizer& tokenizer, std::span<const Message> messages,
                                                const std::string& system, const std::string& tools) const;

 private:
  void append_message(std::vector<Element>& out, const Message& message, std::size_t index,
                      const std::string& before) const;

  const TemplateSpec* spec_;
  std::string default_system_;
};

}  // namespace dstrain
