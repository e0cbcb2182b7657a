// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/unicode.hpp"

#include <simdjson.h>
#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <limits>

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

bool is_space(char32_t code_point) noexcept { return u_isUWhiteSpace(static_cast<UChar32>(code_point)) != 0; }

bool is_word(char32_t code_point) noexcept {
  constexpr std::uint32_t mask = U_GC_L_MASK | U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK;
  return (U_GET_GC_MASK(static_cast<UChar32>(code_point)) & mask) != 0;
}

bool is_number(char32_t code_point) noexcept {
  return (U_GET_GC_MASK(static_cast<UChar32>(code_point)) & U_GC_N_MASK) != 0;
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
