// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/byte_level.hpp"

#include <array>

#include "data/tokenizers/unicode.hpp"

namespace dstrain {
namespace {

struct ByteAlphabet {
  std::array<char32_t, 256> character{};
  std::array<int, 324> byte{};  // the alphabet ends at U+0143

  ByteAlphabet() {
    byte.fill(-1);
    char32_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool itself = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
      const char32_t c = itself ? static_cast<char32_t>(b) : next++;
      character[static_cast<std::size_t>(b)] = c;
      byte[c] = b;
    }
  }
};

const ByteAlphabet& alphabet() {
  static const ByteAlphabet instance;
  return instance;
}

}  // namespace

char32_t byte_level_character(unsigned char byte) noexcept { return alphabet().character[byte]; }

int byte_level_byte(char32_t character) noexcept {
  return character < alphabet().byte.size() ? alphabet().byte[character] : -1;
}

std::optional<std::string> byte_level_bytes(std::string_view text) {
  std::string raw;
  for (std::size_t pos = 0; pos < text.size();) {
    const int byte = byte_level_byte(unicode::next_code_point(text, pos));
    if (byte < 0) return std::nullopt;
    raw += static_cast<char>(byte);
  }
  return raw;
}

}  // namespace dstrain
