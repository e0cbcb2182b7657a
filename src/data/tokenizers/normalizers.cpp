// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/normalizers.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "data/tokenizers/byte_level.hpp"

namespace dstrain::pipeline {
namespace {

template <typename... F>
struct Overload : F... {
  using F::operator()...;
};

/// Calls `append(out, character)` for each character.
template <typename Append>
std::string each_character(std::string_view text, const Append& append) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t pos = 0; pos < text.size();) append(out, unicode::next_code_point(text, pos));
  return out;
}

std::string strip(const StripSpace& step, std::string_view text) {
  while (step.left && !text.empty()) {
    std::size_t pos = 0;
    if (!unicode::is_space(unicode::next_code_point(text, pos))) break;
    text.remove_prefix(pos);
  }
  while (step.right && !text.empty()) {
    const std::size_t last = unicode::previous_code_point(text, text.size());
    std::size_t pos = last;
    if (!unicode::is_space(unicode::next_code_point(text, pos))) break;
    text = text.substr(0, last);
  }
  return std::string(text);
}

void append_nmt(std::string& out, char32_t c) {
  const bool removed =
      (c >= 0x1 && c <= 0x8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
  if (removed) return;
  const bool blank = c == 0x9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
                     c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
  unicode::append_utf8(out, blank ? U' ' : c);
}

void append_clean(std::string& out, char32_t c) {
  if (c == '\t' || c == '\n' || c == '\r' || unicode::is_space(c)) {
    out += ' ';
  } else if (c != 0 && c != 0xFFFD && !unicode::is_other(c)) {
    unicode::append_utf8(out, c);
  }
}

bool is_chinese(char32_t c) {
  // BERT's list; 0x2B920 is as its code has it.
  constexpr std::pair<char32_t, char32_t> ranges[] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF},
                                                      {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF},
                                                      {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  return std::any_of(std::begin(ranges), std::end(ranges),
                     [c](const auto& range) { return c >= range.first && c <= range.second; });
}

std::string bert(const BertNormalizer& step, std::string_view from) {
  std::string text(from);
  if (step.clean_text) text = each_character(text, append_clean);
  if (step.handle_chinese_chars) {
    text = each_character(text, [](std::string& out, char32_t c) {
      const bool chinese = is_chinese(c);
      if (chinese) out += ' ';
      unicode::append_utf8(out, c);
      if (chinese) out += ' ';
    });
  }
  if (step.strip_accents) {
    text = each_character(unicode::normalize(text, unicode::NormalForm::nfd), [](std::string& out, char32_t c) {
      if (!unicode::is_nonspacing_mark(c)) unicode::append_utf8(out, c);
    });
  }
  if (step.lowercase) text = each_character(text, unicode::append_lower_case);
  return text;
}

std::string run(const Normalizer& step, const std::string& text) {
  return std::visit(
      Overload{[&](unicode::NormalForm form) { return unicode::normalize(text, form); },
               [&](const Prepend& s) { return text.empty() ? text : s.text + text; },
               [&](const Replace& s) { return replace_all(s, text); },
               [&](Lowercase) { return each_character(text, unicode::append_lower_case); },
               [&](StripAccents) {
                 return each_character(text, [](std::string& out, char32_t c) {
                   if (!unicode::is_mark(c)) unicode::append_utf8(out, c);
                 });
               },
               [&](const StripSpace& s) { return strip(s, text); },
               [&](Nmt) { return each_character(text, append_nmt); },
               [&](const BertNormalizer& s) { return bert(s, text); }, [&](ToByteLevel) { return to_byte_level(text); },
               [&](const Precompiled& s) { return s.rules->normalize_graphemes(text); }},
      step);
}

}  // namespace

std::string replace_all(const Replace& replace, std::string_view text) {
  std::string out;
  std::size_t done = 0;
  if (replace.pattern) {
    RegexMatches matches(*replace.pattern, text);
    for (std::size_t begin = 0, end = 0; matches.next(begin, end);) {
      out.append(text.substr(done, begin - done)).append(replace.content);
      done = end;
    }
  } else if (!replace.literal.empty()) {
    for (std::size_t at = text.find(replace.literal); at != std::string_view::npos;
         at = text.find(replace.literal, done)) {
      out.append(text.substr(done, at - done)).append(replace.content);
      done = at + replace.literal.size();
    }
  }
  return out.append(text.substr(done));
}

std::string to_byte_level(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for (const char c : text) unicode::append_utf8(out, byte_level_character(static_cast<unsigned char>(c)));
  return out;
}

std::string normalize(const std::vector<Normalizer>& steps, std::string_view text) {
  const std::size_t limit = std::max<std::size_t>(64 * text.size(), 1 << 20);
  std::string out(text);
  for (const auto& step : steps) {
    out = run(step, out);
    if (out.size() > limit)
      throw Error(fmt::format("the tokenizer's normalizer makes {} bytes out of {}", out.size(), text.size()));
  }
  return out;
}

}  // namespace dstrain::pipeline
