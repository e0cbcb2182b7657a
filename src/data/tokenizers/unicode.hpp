// SPDX-License-Identifier: Apache-2.0
/// UTF-8 and Unicode properties, as far as tokenizers need them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dstrain::unicode {

/// True where `text` is well-formed UTF-8.
bool is_valid_utf8(std::string_view text) noexcept;

/// `text` with each maximal ill-formed sequence replaced by U+FFFD (Unicode 15, section 3.9: the practice of W3C
/// decoders).
std::string replace_invalid_utf8(std::string_view text);

/// `text` with each byte that belongs to no well-formed character replaced by U+FFFD (sentencepiece's practice).
std::string replace_each_invalid_byte(std::string_view text);

/// The code point at `pos`, which moves behind it. `text` must be well-formed; an ill-formed byte gives U+FFFD.
char32_t next_code_point(std::string_view text, std::size_t& pos) noexcept;

/// Start of the last code point of text[0, end). `end` > 0.
std::size_t previous_code_point(std::string_view text, std::size_t end) noexcept;

/// Appends `code_point` as UTF-8.
void append_utf8(std::string& out, char32_t code_point);

/// White_Space property.
bool is_space(char32_t code_point) noexcept;
/// What \w matches in a Unicode regular expression (UTS #18): alphabetic, marks, decimal numbers, connectors, joiners.
bool is_word(char32_t code_point) noexcept;
/// General category N.
bool is_number(char32_t code_point) noexcept;
/// General category P, or one of ASCII's 32 punctuation characters (some of which are symbols in Unicode).
bool is_punctuation(char32_t code_point) noexcept;
/// General category M.
bool is_mark(char32_t code_point) noexcept;
/// General category Mn.
bool is_nonspacing_mark(char32_t code_point) noexcept;
/// Control, format, surrogate or private use: general category C without what is not assigned.
bool is_other(char32_t code_point) noexcept;
/// Number of the Unicode script, as ICU counts them; `any_script` where none is known.
int script_of(char32_t code_point) noexcept;
inline constexpr int any_script = -1;
extern const int script_han, script_hiragana, script_katakana;

/// Appends the lower case of one character (full mapping, without regard to its neighbours).
void append_lower_case(std::string& out, char32_t code_point);

/// End of the extended grapheme cluster (UAX #29) that starts at each place of `text`, in order.
std::vector<std::size_t> grapheme_ends(std::string_view text);

enum class NormalForm : std::uint8_t { nfc, nfd, nfkc, nfkd };

/// Unicode normalisation (UAX #15). `text` must be well-formed.
std::string normalize(std::string_view text, NormalForm form);

}  // namespace dstrain::unicode
