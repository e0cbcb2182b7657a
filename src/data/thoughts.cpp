// SPDX-License-Identifier: Apache-2.0
#include "data/thoughts.hpp"

#include "data/tools/python_json.hpp"

namespace dstrain {
namespace {

std::string_view stripped(std::string_view word) {
  constexpr std::string_view blanks = " \t\n\r\f\v";
  const auto first = word.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return word.substr(first, word.find_last_not_of(blanks) - first + 1);
}

/// `text` without every copy of `part`.
std::string without_copies(std::string_view text, std::string_view part) {
  std::string out(text);
  for (auto at = out.find(part); at != std::string::npos; at = out.find(part, at)) out.erase(at, part.size());
  return out;
}

/// The part of `text` from the first `open` to a `close` behind it (the last one where `greedy`); empty where there is
/// none.
std::string_view between(std::string_view text, std::string_view open, std::string_view close, bool greedy) {
  const auto begin = text.find(open);
  if (begin == std::string_view::npos) return {};
  const auto inside = begin + open.size();
  const auto end = greedy ? text.rfind(close) : text.find(close, inside);
  if (end == std::string_view::npos || end < inside) return {};
  return text.substr(begin, end + close.size() - begin);
}

}  // namespace

bool has_thought(const ThoughtWords& words, std::string_view text) {
  return text.find(stripped(words.open)) != std::string_view::npos ||
         text.find(stripped(words.close)) != std::string_view::npos;
}

std::string without_thoughts(const ThoughtWords& words, std::string_view text) {
  std::string out;
  while (true) {
    const auto begin = text.find(words.open);
    const auto end = begin == std::string_view::npos ? begin : text.find(words.close, begin + words.open.size());
    if (end == std::string_view::npos) break;
    out += text.substr(0, begin);
    text.remove_prefix(end + words.close.size());
  }
  out += text;
  out.erase(0, out.find_first_not_of('\n'));
  return out;
}

FunctionMessage split_function_message(const ThoughtWords* words, std::string_view text) {
  std::string_view found = between(text, "<think>", "</think>", /*greedy=*/true);
  if (words != nullptr && words->open != "<think>") {
    const std::string_view own = between(text, words->open, words->close, /*greedy=*/false);
    if (!own.empty()) found = own;
  }
  FunctionMessage message{std::string(found), found.empty() ? std::string(text) : without_copies(text, found)};
  if (python::parse_json(message.calls)) return message;
  // Since 0.9.5 the calls may stand between the words that a model writes around them.
  constexpr std::string_view open = "<tool_call>";
  constexpr std::string_view close = "</tool_call>";
  const std::string_view tagged = between(text, open, close, /*greedy=*/false);
  if (tagged.empty()) return message;
  return {without_copies(text, tagged),
          std::string(tagged.substr(open.size(), tagged.size() - open.size() - close.size()))};
}

}  // namespace dstrain
