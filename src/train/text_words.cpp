// SPDX-License-Identifier: Apache-2.0
#include "train/text_words.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace dstrain {
namespace {

/// One character of UTF-8: its bytes and its code point. A byte that begins none is a character of its own.
struct Character {
  std::string_view bytes;
  std::uint32_t code;
};

Character first_of(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const std::size_t length = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  bool whole = length != 0 && length <= text.size();
  for (std::size_t i = 1; whole && i < length; ++i) whole = (byte(i) & 0xc0) == 0x80;
  if (!whole) return {text.substr(0, 1), 0xfffd};
  std::uint32_t code = length == 1 ? first : first & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) code = code << 6 | (byte(i) & 0x3fU);
  return {text.substr(0, length), code};
}

bool is_letter_or_digit(std::uint32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Python's white space.
bool is_space(std::uint32_t c) {
  return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/// Signs that jieba keeps together with letters until it cuts again.
bool is_joined(std::uint32_t c) {
  return is_letter_or_digit(c) ||
         (c < 0x80 && std::string_view("+#&._%-").find(static_cast<char>(c)) != std::string_view::npos);
}

/// The words of jieba's dictionary without Chinese characters.
constexpr std::string_view dictionary[] = {"AT&T", "c#", "C#", "c++", "C++"};

/// Letters and digits with ".5" and "%" behind them, and what stands between.
void cut_mixed(std::string_view run, std::vector<std::string>& out) {
  std::size_t other = 0;  // where the signs before `at` begin
  const auto flush = [&](std::size_t end) {
    if (end > other) out.emplace_back(run.substr(other, end - other));
  };
  for (std::size_t at = 0; at < run.size();) {
    if (!is_letter_or_digit(static_cast<unsigned char>(run[at]))) {
      ++at;
      continue;
    }
    flush(at);
    std::size_t end = at;
    while (end < run.size() && is_letter_or_digit(static_cast<unsigned char>(run[end]))) ++end;
    if (end + 1 < run.size() && run[end] == '.' && is_digit(run[end + 1])) {
      end += 2;
      while (end < run.size() && is_digit(run[end])) ++end;
    }
    if (end < run.size() && run[end] == '%') ++end;
    out.emplace_back(run.substr(at, end - at));
    at = other = end;
  }
  flush(run.size());
}

/// A run of letters, digits and joined signs: words of the dictionary first.
void cut_run(std::string_view run, std::vector<std::string>& out) {
  std::size_t begin = 0;
  for (std::size_t at = 0; at < run.size();) {
    const auto* word = std::find_if(std::begin(dictionary), std::end(dictionary),
                                    [&](std::string_view w) { return run.substr(at).starts_with(w); });
    if (word == std::end(dictionary)) {
      ++at;
      continue;
    }
    cut_mixed(run.substr(begin, at - begin), out);
    out.emplace_back(*word);
    begin = at += word->size();
  }
  cut_mixed(run.substr(begin), out);
}

/// Words behind which a sentence ends.
bool ends_sentence(std::string_view word) {
  return word == "?" || word == "\u3002" || word == "\uff01" || word == "\uff1f";
}

/// Six dots end a sentence too, also inside a longer row of them.
std::string break_after_six_dots(std::string text) {
  constexpr std::string_view dots = "......";
  for (std::size_t at = text.find(dots); at != std::string::npos; at = text.find(dots, at)) {
    const auto next = at + dots.size();
    if (next >= text.size()) break;
    const std::string_view behind = std::string_view(text).substr(next);
    if (behind.starts_with("\u201d") || behind.starts_with("\u2019")) {
      ++at;
      continue;
    }
    text.insert(next, 1, '\n');
    at = next + 1 + first_of(behind.substr(0, 4)).bytes.size();
  }
  return text;
}

/// The words of one sentence, an empty one where it holds none.
void split_sentence(std::string_view sentence, std::vector<std::string>& out) {
  const std::size_t before = out.size();
  std::string word;
  while (!sentence.empty()) {
    const Character c = first_of(sentence);
    sentence.remove_prefix(c.bytes.size());
    if (!is_space(c.code)) {
      word += c.bytes;
    } else if (!word.empty()) {
      out.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty() || out.size() == before) out.push_back(std::move(word));
}

}  // namespace

std::vector<std::string> segment_words(std::string_view text) {
  std::vector<std::string> words;
  std::size_t run = 0;  // bytes in front of `text` that belong together
  const char* begin = text.data();
  const auto flush = [&] { cut_run({begin, run}, words); };
  while (!text.empty()) {
    const Character c = first_of(text);
    const bool joined = is_joined(c.code);
    if (joined && run++ == 0) begin = text.data();
    if (!joined) {
      flush();
      run = 0;
      const bool line = text.starts_with("\r\n");
      words.emplace_back(line ? text.substr(0, 2) : c.bytes);
      text.remove_prefix(line ? 1 : 0);
    }
    text.remove_prefix(c.bytes.size());
  }
  flush();
  return words;
}

std::vector<std::string> counted_words(const std::vector<std::string>& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    text += words[i];
    if (i + 1 == words.size()) break;
    if (ends_sentence(words[i])) text += '\n';
    text += ' ';
  }
  text = break_after_six_dots(std::move(text));
  std::vector<std::string> out;
  std::size_t end = 0;  // behind the last character that is no white space
  for (std::size_t at = 0; at < text.size();) {
    const Character c = first_of(std::string_view(text).substr(at));
    at += c.bytes.size();
    if (!is_space(c.code)) end = at;
  }
  std::string_view rest = std::string_view(text).substr(0, end);
  while (!rest.empty()) {
    const auto line = std::min(rest.find('\n'), rest.size());
    if (line > 0) split_sentence(rest.substr(0, line), out);
    rest.remove_prefix(std::min(line + 1, rest.size()));
  }
  return out;
}

}  // namespace dstrain
