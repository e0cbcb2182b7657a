// SPDX-License-Identifier: Apache-2.0
/// GPT-2's byte-level alphabet: 256 printable characters that stand for bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dstrain {

/// The character that stands for `byte`.
char32_t byte_level_character(unsigned char byte) noexcept;
/// The byte a character of the alphabet stands for; -1 where it is none.
int byte_level_byte(char32_t character) noexcept;
/// A text of the alphabet as bytes; none where a character does not belong to it.
std::optional<std::string> byte_level_bytes(std::string_view text);

}  // namespace dstrain
