// SPDX-License-Identifier: Apache-2.0
/// The template engine of LLaMA-Factory 0.9.3.
#include "data/template.hpp"

#include <algorithm>
#include <numeric>

#include "core/error.hpp"

namespace dstrain {
namespace {

/// Edit distance of two names (Levenshtein), for hints.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

std::string nearest_names(std::string_view name) {
  std::vector<std::pair<std::size_t, std::string_view>> names;
  for (const auto& spec : template_table()) names.emplace_back(distance(name, spec.name), spec.name);
  std::sort(names.begin(), names.end());
  names.resize(std::min<std::size_t>(3, names.size()));
  std::string out = "the nearest names are";
  for (const auto& [unused, near] : names) out += fmt::format("{} {}", &near == &names.front().second ? "" : ",", near);
  return out + "; `empty` trains on the text as it is";
}

void replace_once(std::string& text, std::string_view placeholder, std::string_view value) {
  if (const auto at = text.find(placeholder); at != std::string::npos) text.replace(at, placeholder.size(), value);
}

/// `idx` is empty where the compatible program passes none (only user messages have one).
void fill(const Slots& slots, std::string_view content, const std::string& idx, std::vector<Element>& out) {
  for (const Slot& slot : slots) {
    Element element{slot.kind, std::string(slot.text)};
    if (slot.kind == Slot::Kind::text) {
      // In this order: a content with the text {{idx}} gets the number, as there.
      replace_once(element.text, "{{content}}", content);
      if (!idx.empty()) replace_once(element.text, "{{idx}}", idx);
    }
    out.push_back(std::move(element));
  }
}

const TemplateSpec& find_spec(std::string_view name) {
  const auto table = template_table();
  const auto it = std::find_if(table.begin(), table.end(), [&](const TemplateSpec& spec) { return spec.name == name; });
  if (it == table.end())
    throw ConfigError(fmt::format("Template {} does not exist.", name), "template", nearest_names(name));
  return *it;
}

void append_ids(const Tokenizer& tokenizer, const std::vector<Element>& elements, std::vector<std::int32_t>& ids) {
  for (const Element& element : elements) {
    std::optional<std::int32_t> id;
    switch (element.kind) {
      case Slot::Kind::text:
        tokenizer.encode(element.text, ids);
        continue;
      case Slot::Kind::bos:
        id = tokenizer.bos_id();
        break;
      case Slot::Kind::eos:
        id = tokenizer.eos_id();
        break;
      case Slot::Kind::token:
        id = tokenizer.token_to_id(element.text);
        if (!id) {
          throw ConfigError(fmt::format("the tokenizer has no token \"{}\", which the template needs", element.text),
                            "template", "the template does not belong to this model");
        }
        break;
    }
    if (id) ids.push_back(*id);
  }
}

}  // namespace

Template::Template(std::string_view name, std::optional<std::string> default_system)
    : spec_(&find_spec(name)),
      default_system_(default_system ? std::move(*default_system) : std::string(spec_->default_system)) {}

int Template::fix_tokenizer(Tokenizer& tokenizer) const {
  int added = 0;
  std::vector<std::string> stop_words(spec_->stop_words.begin(), spec_->stop_words.end());
  if (spec_->replace_eos) {
    if (tokenizer.eos_token() != stop_words.front()) added += tokenizer.set_eos_token(stop_words.front());
    stop_words.erase(stop_words.begin());
  }
  if (!tokenizer.eos_id()) added += tokenizer.set_eos_token("<|endoftext|>");
  if (!tokenizer.pad_id()) added += tokenizer.set_pad_token(*tokenizer.eos_token());
  return added + tokenizer.add_special_tokens(stop_words);
}

void Template::append_message(std::vector<Element>& out, const Message& message, std::size_t index,
                              const std::string& before) const {
  static const Slots answer_with_eos = {"{{content}}", Slot::Kind::eos};
  static const Slots answer = {"{{content}}"};
  switch (message.role) {
    case Role::user:
      // Llama 2's kind passes no idx.
      fill(spec_->user, before + message.content, spec_->system_in_user ? "" : std::to_string(index / 2), out);
      return;
    case Role::assistant: {
      const Slots& fallback = spec_->efficient_eos ? answer : answer_with_eos;
      fill(spec_->assistant.empty() ? fallback : spec_->assistant, message.content, "", out);
      return;
    }
    case Role::observation:
      fill(spec_->observation.empty() ? spec_->user : spec_->observation, message.content, "", out);
      return;
    case Role::function:
      break;
  }
  throw ConfigError("a message is a function call; tool formats are not part of this version", "template",
                    "remove the samples with tools from the dataset");
}

std::vector<std::vector<Element>> Template::render(std::span<const Message> messages, const std::string& system,
                                                   const std::string& tools) const {
  if (!tools.empty()) {
    throw ConfigError("a sample has tools; tool formats are not part of this version", "template",
                      "remove the column `tools` from the dataset's description");
  }
  // An empty system of a sample falls back to the default too.
  const std::string& system_text = system.empty() ? default_system_ : system;
  std::vector<std::vector<Element>> rendered(messages.size());
  for (std::size_t i = 0; i < messages.size(); ++i) {
    std::string before;
    if (i == 0) {
      fill(spec_->prefix, "", "", rendered[i]);
      if (!system_text.empty()) {
        std::vector<Element> elements;
        fill(spec_->system, system_text, "", elements);
        if (spec_->system_in_user) {
          before = elements.front().text;
        } else {
          std::move(elements.begin(), elements.end(), std::back_inserter(rendered[i]));
        }
      }
    }
    append_message(rendered[i], messages[i], i, before);
  }
  return rendered;
}

std::vector<EncodedTurn> Template::encode(const Tokenizer& tokenizer, std::span<const Message> messages,
                                          const std::string& system, const std::string& tools) const {
  DSTRAIN_CHECK(messages.size() % 2 == 0, "{} messages are no whole turns", messages.size());
  const auto rendered = render(messages, system, tools);
  std::vector<EncodedTurn> turns(messages.size() / 2);
  for (std::size_t t = 0; t < turns.size(); ++t) {
    append_ids(tokenizer, rendered[2 * t], turns[t].source);
    append_ids(tokenizer, rendered[2 * t + 1], turns[t].target);
  }
  return turns;
}

}  // namespace dstrain
