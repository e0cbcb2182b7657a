// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/regex.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

#include "core/error.hpp"
#include "data/tokenizers/unicode.hpp"

namespace dstrain {
namespace {

// PCRE2's \s also holds U+180E; the Unicode property (and the tokenizers the patterns were written for) does not.
constexpr std::string_view white_space =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

/// The pattern with \s and \S outside brackets, and \s inside them, spelled out.
std::string spell_out_white_space(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (escaped == 's') {
        out += in_class ? std::string(white_space) : fmt::format("[{}]", white_space);
      } else if (escaped == 'S' && !in_class) {
        out += fmt::format("[^{}]", white_space);
      } else {
        out += c;
        out += escaped;
      }
      continue;
    }
    if (c == '[') in_class = true;
    if (c == ']') in_class = false;
    out += c;
  }
  return out;
}

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

Regex::Regex(std::string_view pattern, const std::string& where) {
  const std::string spelled = spell_out_white_space(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(spelled.data()), spelled.size(), PCRE2_UTF | PCRE2_UCP,
                                   &error, &offset, nullptr);
  if (code == nullptr) {
    throw ConfigError(
        fmt::format("the pattern \"{}\" is not understood: {} (at character {})", pattern, message_of(error), offset),
        where);
  }
  code_ = std::shared_ptr<pcre2_real_code_8>(code, pcre2_code_free);
  jit_ = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
}

Regex Regex::literal(std::string_view text, const std::string& where) {
  std::string pattern;
  for (std::size_t pos = 0; pos < text.size();) {
    pattern += fmt::format("\\x{{{:x}}}", static_cast<std::uint32_t>(unicode::next_code_point(text, pos)));
  }
  return Regex(pattern, where);
}

RegexMatches::RegexMatches(const Regex& regex, std::string_view text)
    : regex_(regex), text_(text), data_(pcre2_match_data_create(1, nullptr)) {
  DSTRAIN_CHECK(data_ != nullptr, "no memory to match a pattern");
}

RegexMatches::~RegexMatches() { pcre2_match_data_free(data_); }

bool RegexMatches::next(std::size_t& begin, std::size_t& end) {
  while (position_ < text_.size()) {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text_.data());
    const int rc =
        regex_.compiled_to_machine_code()
            ? pcre2_jit_match(regex_.code(), subject, text_.size(), position_, PCRE2_NO_UTF_CHECK, data_, nullptr)
            : pcre2_match(regex_.code(), subject, text_.size(), position_, PCRE2_NO_UTF_CHECK, data_, nullptr);
    if (rc == PCRE2_ERROR_NOMATCH) break;
    if (rc < 0) throw Error(fmt::format("a tokenizer pattern cannot be matched: {}", message_of(rc)));
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data_);
    begin = range[0];
    end = range[1];
    if (end > begin) {
      position_ = end;
      return true;
    }
    // An empty match: go on behind the next character.
    position_ = begin;
    if (position_ < text_.size()) unicode::next_code_point(text_, position_);
  }
  position_ = text_.size();
  return false;
}

}  // namespace dstrain
