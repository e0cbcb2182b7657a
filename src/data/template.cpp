// SPDX-License-Identifier: Apache-2.0
/// The template engine of LLaMA-Factory 0.9.3.
#include "data/template.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iterator>
#include <utility>

#include "core/error.hpp"
#include "core/log.hpp"
#include "data/thoughts.hpp"
#include "data/tools/tool_format.hpp"

namespace dstrain {
namespace {

void replace_once(std::string& text, std::string_view placeholder, std::string_view value) {
  if (const auto at = text.find(placeholder); at != std::string::npos) text.replace(at, placeholder.size(), value);
}

/// `idx` is empty where the compatible program passes none (only user messages have one).
void fill(const Slots& slots, std::string_view content, const std::string& idx, std::vector<Element>& out) {
  for (const Slot& slot : slots) {
    Element element{slot.kind, slot.text};
    if (slot.kind == Slot::Kind::text) {
      // In this order: a content with the text {{idx}} gets the number, as there.
      replace_once(element.text, "{{content}}", content);
      if (!idx.empty()) replace_once(element.text, "{{idx}}", idx);
    }
    out.push_back(std::move(element));
  }
}

const Slots& content_only() {
  static const Slots slots = {"{{content}}"};
  return slots;
}

const Slots& content_and_eos() {
  static const Slots slots = {"{{content}}", Slot::Kind::eos};
  return slots;
}

const Slots& slots_or(const Slots& slots, const Slots& fallback) { return slots.empty() ? fallback : slots; }

std::int32_t token_id(const Tokenizer& tokenizer, const std::string& token) {
  if (const auto id = tokenizer.token_to_id(token)) return *id;
  if (const auto unknown = tokenizer.unk_id()) return *unknown;
  throw ConfigError(fmt::format("the tokenizer has no token \"{}\", which the template needs", token), "template",
                    "the template does not belong to this model");
}

void append_ids(const Tokenizer& tokenizer, const std::vector<Element>& elements, std::vector<std::int32_t>& ids) {
  for (const Element& element : elements) {
    switch (element.kind) {
      case Slot::Kind::text:
        tokenizer.encode(element.text, ids);
        break;
      case Slot::Kind::bos:
        if (const auto id = tokenizer.bos_id()) ids.push_back(*id);
        break;
      case Slot::Kind::eos:
        if (const auto id = tokenizer.eos_id()) ids.push_back(*id);
        break;
      case Slot::Kind::token:
        ids.push_back(token_id(tokenizer, element.text));
        break;
    }
  }
}

/// "21 Nov 2026", as Python's "%d %b %Y" in the C locale.
std::string date_text(int year, int month, int day) {
  constexpr std::array<const char*, 12> names = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{:02d} {} {:04d}", day, names[static_cast<std::size_t>(month - 1)], year);
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return date_text(local.tm_year + 1900, local.tm_mon + 1, local.tm_mday);
}

std::string parse_date(const std::string& text, const char* where) {
  int year = 0;
  int month = 0;
  int day = 0;
  int used = 0;
  const int found = std::sscanf(text.c_str(), "%4d-%2d-%2d%n", &year, &month, &day, &used);
  if (found != 3 || used != 10 || text.size() != 10 || month < 1 || month > 12 || day < 1 || day > 31 || year < 1) {
    throw ConfigError(fmt::format("\"{}\" is no date", text), where, "write YYYY-MM-DD, like 2026-11-21");
  }
  return date_text(year, month, day);
}

std::string date_of(const TemplateOptions& options) {
  if (options.date) return parse_date(*options.date, "date");
  const char* given = std::getenv("DSTRAIN_DATE");
  return given != nullptr && *given != '\0' ? parse_date(given, "DSTRAIN_DATE") : today();
}

/// Tokens that the template names one by one and the tokenizer does not know become its unknown token, as there.
void warn_about_missing_tokens(const TemplateSpec& spec, const Tokenizer& tokenizer) {
  for (const Slots* slots : {&spec.prefix, &spec.system, &spec.user, &spec.assistant, &spec.observation}) {
    for (const Slot& slot : *slots) {
      if (slot.kind != Slot::Kind::token || tokenizer.token_to_id(slot.text) || !tokenizer.unk_id()) continue;
      log::warning("the tokenizer has no token \"{}\", which template {} needs: it becomes the unknown token",
                   slot.text, spec.name);
    }
  }
}

}  // namespace

Template::Template(std::string_view name, TemplateOptions options)
    : Template(TemplateSpec(find_template(name)), std::move(options)) {}

Template::Template(TemplateSpec spec, TemplateOptions options)
    : spec_(std::move(spec)), options_(std::move(options)), date_(date_of(options_)) {
  if (options_.tool_format) {
    spec_.tool_format = *options_.tool_format;
    spec_.tools_text.clear();
    spec_.function = spec_.efficient_eos ? content_only() : content_and_eos();
  }
  if (options_.default_system) spec_.default_system = *options_.default_system;
  tools_ = &find_tool_format(spec_.tool_format.empty() ? "default" : spec_.tool_format);
}

bool Template::tells_the_date() const noexcept { return tools_->uses_date; }

int Template::fix_tokenizer(Tokenizer& tokenizer) const {
  int added = 0;
  std::vector<std::string> stop_words = spec_.stop_words;
  if (spec_.replace_eos) {
    if (tokenizer.eos_token() != stop_words.front()) added += tokenizer.set_eos_token(stop_words.front());
    stop_words.erase(stop_words.begin());
  }
  if (!tokenizer.eos_id()) added += tokenizer.set_eos_token("<|endoftext|>");
  if (!tokenizer.pad_id()) added += tokenizer.set_pad_token(*tokenizer.eos_token());
  added += tokenizer.add_special_tokens(stop_words);
  warn_about_missing_tokens(spec_, tokenizer);
  return added;
}

std::vector<std::int32_t> Template::stop_ids(const Tokenizer& tokenizer) const {
  std::vector<std::int32_t> ids;
  if (const auto eos = tokenizer.eos_id()) ids.push_back(*eos);
  for (const std::string& word : spec_.stop_words) {
    const auto id = tokenizer.token_to_id(word);
    if (id && std::find(ids.begin(), ids.end(), *id) == ids.end()) ids.push_back(*id);
  }
  return ids;
}

const Slots& Template::answer_slots() const {
  return slots_or(spec_.assistant, spec_.efficient_eos ? content_only() : content_and_eos());
}

const Slots& Template::function_slots() const { return slots_or(spec_.function, answer_slots()); }

void Template::append_message(std::vector<Element>& out, const Message& message, std::size_t index,
                              const std::string& before) const {
  const Slots& user = slots_or(spec_.user, content_only());
  switch (message.role) {
    case Role::user:
      // Llama 2's kind passes no idx.
      fill(user, before + message.content, spec_.system_in_user ? "" : std::to_string(index / 2), out);
      return;
    case Role::assistant:
      fill(answer_slots(), message.content, "", out);
      return;
    case Role::observation:
      fill(slots_or(spec_.observation, user), message.content, "", out);
      return;
    case Role::function: {
      const auto split = split_function_message(spec_.thought ? &*spec_.thought : nullptr, message.content);
      fill(function_slots(), split.thought + tools_->call(parse_calls(split.calls)), "", out);
      return;
    }
  }
}

std::string Template::system_text(const std::string& system, const std::string& tools) const {
  if (tools.empty()) return system;
  if (spec_.tools_text.empty()) return system + describe_tools(*tools_, tools, date_);
  std::string text = spec_.tools_text;
  replace_once(text, "{{content}}", tools);
  return system + text;
}

std::vector<Message> Template::as_trained(std::span<const Message> messages) const {
  std::vector<Message> own(messages.begin(), messages.end());
  if (!spec_.thought || options_.enable_thinking != false) return own;
  for (std::size_t i = 1; i < own.size(); i += 2) own[i].content = without_thoughts(*spec_.thought, own[i].content);
  return own;
}

std::vector<std::vector<Element>> Template::render(std::span<const Message> messages, const std::string& system,
                                                   const std::string& tools) const {
  return render_all(as_trained(messages), system, tools);
}

std::vector<std::vector<Element>> Template::render_all(std::span<const Message> messages, const std::string& system,
                                                       const std::string& tools) const {
  // An empty system of a sample falls back to the default too.
  const std::string& own_system = system.empty() ? spec_.default_system : system;
  std::vector<std::vector<Element>> rendered(messages.size());
  for (std::size_t i = 0; i < messages.size(); ++i) {
    std::string before;
    if (i == 0) {
      fill(spec_.prefix, "", "", rendered[i]);
      // Tools that describe nothing, [], still make a system message.
      if (!own_system.empty() || !tools.empty()) {
        std::vector<Element> elements;
        fill(slots_or(spec_.system, content_only()), system_text(own_system, tools), "", elements);
        if (spec_.system_in_user) {
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

void Template::add_empty_thought(const Tokenizer& tokenizer, const Message& answer, EncodedTurn& turn) const {
  if (has_thought(*spec_.thought, answer.content)) return;
  const auto ids = tokenizer.encode(spec_.thought->empty);
  if (options_.enable_thinking.value_or(false)) {
    turn.target.insert(turn.target.begin(), ids.begin(), ids.end());
  } else {
    turn.source.insert(turn.source.end(), ids.begin(), ids.end());
  }
}

std::vector<EncodedTurn> Template::encode(const Tokenizer& tokenizer, std::span<const Message> messages,
                                          const std::string& system, const std::string& tools) const {
  DSTRAIN_CHECK(messages.size() % 2 == 0, "{} messages are no whole turns", messages.size());
  const auto own = as_trained(messages);
  const auto rendered = render_all(own, system, tools);
  std::vector<EncodedTurn> turns(messages.size() / 2);
  for (std::size_t t = 0; t < turns.size(); ++t) {
    append_ids(tokenizer, rendered[2 * t], turns[t].source);
    append_ids(tokenizer, rendered[2 * t + 1], turns[t].target);
    if (spec_.thought) add_empty_thought(tokenizer, own[2 * t + 1], turns[t]);
  }
  return turns;
}

EncodedTurn Template::encode_oneturn(const Tokenizer& tokenizer, std::span<const Message> messages,
                                     const std::string& system, const std::string& tools) const {
  DSTRAIN_CHECK(!messages.empty() && messages.size() % 2 == 0, "{} messages are no whole turns", messages.size());
  std::vector<Message> own(messages.begin(), messages.end());
  if (spec_.thought) {
    const auto cut = [&](Message& answer) { answer.content = without_thoughts(*spec_.thought, answer.content); };
    for (std::size_t i = 1; i + 1 < own.size() && !options_.preserve_thinking; i += 2) cut(own[i]);
    if (options_.enable_thinking == false) cut(own.back());
  }
  const auto rendered = render_all(own, system, tools);
  EncodedTurn turn;
  for (std::size_t i = 0; i + 1 < rendered.size(); ++i) append_ids(tokenizer, rendered[i], turn.source);
  append_ids(tokenizer, rendered.back(), turn.target);
  if (spec_.thought) add_empty_thought(tokenizer, own.back(), turn);
  return turn;
}

}  // namespace dstrain
