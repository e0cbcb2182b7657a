// SPDX-License-Identifier: Apache-2.0
/// Sets of characters by name, as items that stand inside PCRE2's brackets.
#pragma once

#include <optional>
#include <string_view>

namespace dstrain::regex {

/// PCRE2's \s also holds U+180E; the Unicode property does not.
inline constexpr std::string_view space_items =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
inline constexpr std::string_view word_items = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
/// What \w outside brackets and \b hold besides: Oniguruma asks Latin-1's table below U+0100, where these are digits.
inline constexpr std::string_view latin_word_items = R"(\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";
inline constexpr std::string_view posix_punctuation = R"(\p{P}\p{S})";
inline constexpr std::string_view hex_items = "0-9a-fA-F";

/// The characters of a property that PCRE2 does not know by this name.
/// @param folded  in Oniguruma's folded spelling: lower case without spaces, '_' and '-'
std::optional<std::string_view> property_items(std::string_view folded);

}  // namespace dstrain::regex
