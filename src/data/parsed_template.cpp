// SPDX-License-Identifier: Apache-2.0
#include "data/parsed_template.hpp"

#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/log.hpp"
#include "data/jinja/jinja.hpp"
#include "data/json.hpp"

namespace dstrain {
namespace {

constexpr std::string_view placeholder = "{{content}}";

/// A text in characters: slots are cut by counting them.
using Characters = std::vector<std::string>;

std::string joined(const Characters& text, std::size_t from = 0) {
  std::string out;
  for (std::size_t i = from; i < text.size(); ++i) out += text[i];
  return out;
}

std::string without(std::string text, std::string_view part) {
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at)) text.erase(at, part.size());
  return text;
}

class Renderer {
 public:
  Renderer(const std::string& source, const Tokenizer& tokenizer) : source_(source) {
    const auto add = [&](const char* name, const std::optional<std::string>& token) {
      if (token) variables_.emplace_back(name, jinja::Value(*token));
    };
    add("bos_token", tokenizer.bos_token());
    add("eos_token", tokenizer.eos_token());
    add("pad_token", tokenizer.pad_token());
    if (const auto unk = tokenizer.unk_id()) add("unk_token", tokenizer.id_to_token(*unk));
    variables_.emplace_back("tools", jinja::Value(jinja::None{}));
    variables_.emplace_back("documents", jinja::Value(jinja::None{}));
  }

  using Messages = std::vector<std::pair<const char*, std::string_view>>;

  [[nodiscard]] Characters operator()(const Messages& messages, bool add_generation_prompt) const {
    jinja::List list;
    for (const auto& [role, content] : messages) {
      list.emplace_back(jinja::Dict{{"role", jinja::Value(role)}, {"content", jinja::Value(std::string(content))}});
    }
    jinja::Dict variables = variables_;
    variables.emplace_back("messages", jinja::Value(std::move(list)));
    variables.emplace_back("add_generation_prompt", jinja::Value(add_generation_prompt));
    return jinja::characters(jinja::render(source_, variables));
  }

 private:
  const std::string& source_;
  jinja::Dict variables_;
};

Characters behind(const Characters& text, std::size_t count) {
  return count < text.size() ? Characters(text.begin() + static_cast<std::ptrdiff_t>(count), text.end()) : Characters{};
}

/// The characters of `longer` that `shorter` does not have, taken from the left.
std::string difference(const Characters& shorter, const Characters& longer) {
  std::string out;
  std::size_t i = 0;
  for (std::size_t j = 0; i < shorter.size() && j < longer.size(); ++j) {
    if (shorter[i] == longer[j]) {
      ++i;
    } else {
      out += longer[j];
    }
  }
  return out;
}

Slots one_slot(std::string text, const char* role) {
  if (text.find(placeholder) == std::string::npos) {
    throw ConfigError(fmt::format("the tokenizer's chat template does not write the {} message as it is", role),
                      "template", "name the template: `template: ...`");
  }
  return {Slot(std::move(text))};
}

}  // namespace

std::optional<std::string> chat_template_source(const TokenizerFiles& files) {
  if (const auto own = files.find("chat_template.jinja"); own != files.end()) return own->second;
  const auto config = files.find("tokenizer_config.json");
  if (config == files.end()) return std::nullopt;
  simdjson::dom::parser parser;
  const auto root = json_read::parse(parser, config->second, "tokenizer_config.json");
  const auto found = json_read::member(root, "chat_template");
  std::string_view text;
  if (!found || found->get(text) != simdjson::SUCCESS) return std::nullopt;
  return std::string(text);
}

TemplateSpec parse_chat_template(const std::string& source, const Tokenizer& tokenizer) {
  const Renderer render(source, tokenizer);
  const std::string prefix = tokenizer.decode(tokenizer.encode("", /*add_special=*/true));
  const std::size_t skip = jinja::characters(prefix).size();
  if (!joined(render({{"user", placeholder}}, true)).starts_with(prefix)) {
    log::warning(
        "the tokenizer puts \"{}\" in front of a text and its chat_template does not: the first characters of "
        "each slot are cut off, as in LLaMA-Factory; name the template instead",
        prefix);
  }
  const Characters system = behind(render({{"system", placeholder}}, false), skip);
  const Characters empty_system = behind(render({{"system", ""}, {"user", placeholder}}, true), skip);
  const Characters user = behind(render({{"user", placeholder}}, true), skip);
  const Characters turn = render({{"user", placeholder}, {"assistant", placeholder}}, false);

  TemplateSpec spec;
  spec.name = "chat_template";
  std::string answer = joined(turn, skip + user.size());
  if (answer.find("<think>") != std::string::npos) spec.thought = {"<think>", "</think>", "<think>\n\n</think>\n\n"};
  answer = without(without(std::move(answer), "<think>"), "</think>");
  answer.erase(0, answer.find_first_not_of('\n'));
  std::string question = joined(user);
  if (user.size() > empty_system.size()) {
    spec.default_system = difference(empty_system, user);
    std::string sole_system = joined(system);
    if (const auto at = sole_system.find(placeholder); at != std::string::npos)
      sole_system.replace(at, placeholder.size(), spec.default_system);
    question = joined(user, jinja::characters(sole_system).size());
  }
  if (!prefix.empty()) spec.prefix = {Slot(prefix)};
  spec.system = one_slot(joined(system), "system");
  spec.user = one_slot(std::move(question), "user");
  spec.assistant = one_slot(std::move(answer), "assistant");
  return spec;
}

}  // namespace dstrain
