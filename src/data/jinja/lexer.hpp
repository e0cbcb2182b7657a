// SPDX-License-Identifier: Apache-2.0
/// A Jinja template as tokens, with the settings that transformers uses (trim_blocks, lstrip_blocks).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dstrain::jinja {

struct Token {
  enum class Kind : std::uint8_t {
    text,
    output_begin,
    output_end,
    block_begin,
    block_end,
    name,
    number,
    string,
    op,
    end
  };
  Kind kind = Kind::end;
  std::string text;  ///< a string's characters without quotes
};

/// @throws ConfigError  a tag or string without end, a character that Jinja does not know
std::vector<Token> tokenize(std::string_view source);

}  // namespace dstrain::jinja
