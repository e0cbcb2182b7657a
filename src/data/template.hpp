// SPDX-License-Identifier: Apache-2.0
/// Chat templates: how a conversation becomes the text a model was trained on.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/sample.hpp"
#include "data/template_spec.hpp"
#include "data/tokenizer.hpp"

namespace dstrain {

struct ToolFormat;

/// What the config keys of the same names say about a template.
struct TemplateOptions {
  std::optional<std::string> default_system = {};  ///< instead of the template's
  std::optional<std::string> tool_format = {};     ///< instead of the template's
  /// Templates that think. true: an empty thought is part of the answer and carries loss; none and false: it belongs to
  /// the question; false: thoughts are cut out of the answers, too.
  std::optional<bool> enable_thinking = true;
  bool preserve_thinking = false;  ///< one turn: the thoughts of earlier answers stay
  /// The day that Llama 3's tool prompt names, "YYYY-MM-DD". None: the environment's DSTRAIN_DATE, else the clock's.
  std::optional<std::string> date = {};
};

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
  /// @throws ConfigError  no such template or tool format (the nearest names are given), a date that is none
  explicit Template(std::string_view name, TemplateOptions options = {});
  /// A template that is in no table: one that was read out of a tokenizer's chat_template.
  explicit Template(TemplateSpec spec, TemplateOptions options = {});

  [[nodiscard]] const TemplateSpec& spec() const noexcept { return spec_; }
  [[nodiscard]] bool efficient_eos() const noexcept { return spec_.efficient_eos; }
  [[nodiscard]] const std::string& default_system() const noexcept { return spec_.default_system; }
  /// True where samples with tools become other text tomorrow.
  [[nodiscard]] bool tells_the_date() const noexcept;
  /// As the tool prompt writes it: "21 Nov 2026".
  [[nodiscard]] const std::string& date() const noexcept { return date_; }

  /// Gives `tokenizer` the eos, pad and stop words the template needs, and warns about tokens that it lacks. Returns
  /// how many tokens are new to its vocabulary.
  int fix_tokenizer(Tokenizer& tokenizer) const;

  /// Ids that end an answer: eos and the stop words.
  [[nodiscard]] std::vector<std::int32_t> stop_ids(const Tokenizer& tokenizer) const;

  /// The elements of every message, in order; roles must alternate (even: user or observation, odd: assistant or
  /// function). Empty thoughts are no elements; encode adds them.
  /// @throws ConfigError  tools or a function message are no JSON, or lack what the tool format prints
  [[nodiscard]] std::vector<std::vector<Element>> render(std::span<const Message> messages, const std::string& system,
                                                         const std::string& tools) const;

  /// Turns of a conversation with an even number of messages. Every element is encoded by its own call; texts are never
  /// joined before. @throws as render
  [[nodiscard]] std::vector<EncodedTurn> encode(const Tokenizer& tokenizer, std::span<const Message> messages,
                                                const std::string& system, const std::string& tools) const;

  /// The whole conversation before the last message as question, the last message as answer: what generation, prompts
  /// and pairs want. Thoughts of earlier answers are cut out unless preserve_thinking. @throws as render
  [[nodiscard]] EncodedTurn encode_oneturn(const Tokenizer& tokenizer, std::span<const Message> messages,
                                           const std::string& system, const std::string& tools) const;

 private:
  [[nodiscard]] std::vector<std::vector<Element>> render_all(std::span<const Message> messages,
                                                             const std::string& system, const std::string& tools) const;
  [[nodiscard]] std::vector<Message> as_trained(std::span<const Message> messages) const;
  void append_message(std::vector<Element>& out, const Message& message, std::size_t index,
                      const std::string& before) const;
  [[nodiscard]] std::string system_text(const std::string& system, const std::string& tools) const;
  [[nodiscard]] const Slots& answer_slots() const;
  [[nodiscard]] const Slots& function_slots() const;
  void add_empty_thought(const Tokenizer& tokenizer, const Message& answer, EncodedTurn& turn) const;

  TemplateSpec spec_;
  TemplateOptions options_;
  const ToolFormat* tools_;
  std::string date_;
};

}  // namespace dstrain
