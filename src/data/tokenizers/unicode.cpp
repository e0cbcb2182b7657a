// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/unicode.hpp"

#include <simdjson.h>
#include <unicode/brkiter.h>
#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uscript.h>
#include <unicode/utext.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <limits>
#include <memory>

#include "core/error.hpp"

namespace dstrain::unicode {
namespace {

constexpr char32_t replacement = 0xFFFD;

const icu::Normalizer2& normalizer(NormalForm form) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* found = nullptr;
  switch (form) {
    case NormalForm::nfc:
      found = icu::Normalizer2::getNFCInstance(status);
      break;
    case NormalForm::nfd:
      found = icu::Normalizer2::getNFDInstance(status);
      break;
    case NormalForm::nfkc:
      found = icu::Normalizer2::getNFKCInstance(status);
      break;
    case NormalForm::nfkd:
      found = icu::Normalizer2::getNFKDInstance(status);
      break;
  }
  DSTRAIN_CHECK(U_SUCCESS(status) && found != nullptr, "no Unicode normalisation data: {}", u_errorName(status));
  return *found;
}

}  // namespace

bool is_valid_utf8(std::string_view text) noexcept { return simdjson::validate_utf8(text.data(), text.size()); }

char32_t next_code_point(std::string_view text, std::size_t& pos) noexcept {
  UChar32 c = 0;
  const auto* s = reinterpret_cast<const std::uint8_t*>(text.data());
  U8_NEXT(s, pos, text.size(), c);
  return c < 0 ? replacement : static_cast<char32_t>(c);
}

std::size_t previous_code_point(std::string_view text, std::size_t end) noexcept {
  std::size_t pos = end;
  do {
    --pos;
  } while (pos > 0 && end - pos < 4 && (static_cast<unsigned char>(text[pos]) & 0xC0U) == 0x80U);
  return pos;
}

void append_utf8(std::string& out, char32_t code_point) {
  char buffer[U8_MAX_LENGTH];
  int length = 0;
  UBool failed = 0;
  U8_APPEND(buffer, length, U8_MAX_LENGTH, static_cast<UChar32>(code_point), failed);
  if (failed != 0) return append_utf8(out, replacement);
  out.append(buffer, static_cast<std::size_t>(length));
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t pos = 0; pos < text.size();) {
    append_utf8(out, next_code_point(text, pos));
  }
  return out;
}

std::string replace_each_invalid_byte(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t begin = pos;
    UChar32 c = 0;
    const auto* s = reinterpret_cast<const std::uint8_t*>(text.data());
    U8_NEXT(s, pos, text.size(), c);
    if (c >= 0) {
      out += text.substr(begin, pos - begin);
    } else {
      append_utf8(out, replacement);
      pos = begin + 1;
    }
  }
  return out;
}

bool is_space(char32_t code_point) noexcept { return u_isUWhiteSpace(static_cast<UChar32>(code_point)) != 0; }

bool is_word(char32_t code_point) noexcept {
  constexpr std::uint32_t mask = U_GC_L_MASK | U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK;
  const auto c = static_cast<UChar32>(code_point);
  return (U_GET_GC_MASK(c) & mask) != 0 || u_isUAlphabetic(c) != 0 || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL) != 0;
}

bool is_number(char32_t code_point) noexcept {
  return (U_GET_GC_MASK(static_cast<UChar32>(code_point)) & U_GC_N_MASK) != 0;
}

namespace {
bool in_categories(char32_t code_point, std::uint32_t mask) noexcept {
  return (U_GET_GC_MASK(static_cast<UChar32>(code_point)) & mask) != 0;
}
}  // namespace

bool is_punctuation(char32_t code_point) noexcept {
  if (code_point < 0x80)
    return u_isgraph(static_cast<UChar32>(code_point)) != 0 && u_isalnum(static_cast<UChar32>(code_point)) == 0;
  return in_categories(code_point, U_GC_P_MASK);
}

bool is_mark(char32_t code_point) noexcept { return in_categories(code_point, U_GC_M_MASK); }
bool is_nonspacing_mark(char32_t code_point) noexcept { return in_categories(code_point, U_GC_MN_MASK); }
bool is_other(char32_t code_point) noexcept { return in_categories(code_point, U_GC_C_MASK & ~U_GC_CN_MASK); }

const int script_han = USCRIPT_HAN;
const int script_hiragana = USCRIPT_HIRAGANA;
const int script_katakana = USCRIPT_KATAKANA;

int script_of(char32_t code_point) noexcept {
  UErrorCode status = U_ZERO_ERROR;
  const UScriptCode script = uscript_getScript(static_cast<UChar32>(code_point), &status);
  return U_FAILURE(status) || script == USCRIPT_UNKNOWN ? any_script : static_cast<int>(script);
}

void append_lower_case(std::string& out, char32_t code_point) {
  // The one character whose lower case is two, whatever stands beside it (SpecialCasing.txt).
  if (code_point == 0x130) {
    out += "i\xCC\x87";
  } else {
    append_utf8(out, static_cast<char32_t>(u_tolower(static_cast<UChar32>(code_point))));
  }
}

std::vector<std::size_t> grapheme_ends(std::string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  const std::unique_ptr<icu::BreakIterator> breaks(
      icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), status));
  UText* utext = utext_openUTF8(nullptr, text.data(), static_cast<std::int64_t>(text.size()), &status);
  DSTRAIN_CHECK(U_SUCCESS(status), "no Unicode segmentation data: {}", u_errorName(status));
  breaks->setText(utext, status);
  std::vector<std::size_t> ends;
  breaks->first();
  for (std::int32_t at = breaks->next(); at != icu::BreakIterator::DONE; at = breaks->next()) {
    ends.push_back(static_cast<std::size_t>(at));
  }
  utext_close(utext);
  return ends;
}

std::string normalize(std::string_view text, NormalForm form) {
  // No ASCII character changes in any form: the common case costs one scan.
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; })) {
    return std::string(text);
  }
  DSTRAIN_CHECK(text.size() <= static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()),
                "a text of {} bytes is too long to normalise", text.size());
  std::string out;
  out.reserve(text.size());
  icu::StringByteSink<std::string> sink(&out);
  UErrorCode status = U_ZERO_ERROR;
  normalizer(form).normalizeUTF8(0, icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())), sink,
                                 nullptr, status);
  DSTRAIN_CHECK(U_SUCCESS(status), "Unicode normalisation failed: {}", u_errorName(status));
  return out;
}

}  // namespace dstrain::unicode
