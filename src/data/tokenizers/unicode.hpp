// SPDX-License-Identifier: Apache-2.0
/// UTF-8 and Unicode properties, as far as tokenizers need them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dstrain::unicode {

/// True where `text` is well-formed UTF-8.
bool is_valid_utf8(std::string_view text) noexcept;

/// `text` with each maximal ill-formed sequence replaced by U+FFFD (Unicode 15, section 3.9: the practice of W3C
/// decoders).
std::string replace_invalid_utf8(std::string_view text);

/// The code point at `pos`, which moves behind it. `text` must be well-formed; an ill-formed byte gives U+FFFD.
char32_t next_code_point(std::string_view text, std::size_t& pos) noexcept;

/// Start of the last code point of text[0, end). `end` > 0.
std::size_t previous_code_point(std::string_view text, std::size_t end) noexcept;

/// Appends `code_point` as UTF-8.
void append_utf8(std::string& out, char32_t code_point);

/// White_Space property.
bool is_space(char32_t code_point) noexcept;
/// What \w matches in a Unicode regular expression: letters, marks, decimal numbers, connectors.
bool is_word(char32_t code_point) noexcept;
/// General category N.
bool is_number(char32_t code_point) noexcept;

enum class NormalForm : std::uint8_t { nfc, nfd, nfkc, nfkd };

/// Unicode normalisation (UAX #15). `text` must be well-formed.
std::string normalize(std::string_view text, NormalForm form);

}  // namespace dstrain::unicode
