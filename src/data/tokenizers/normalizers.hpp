// SPDX-License-Identifier: Apache-2.0
/// The `normalizer` steps of a tokenizer.json.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "data/tokenizers/charsmap.hpp"
#include "data/tokenizers/regex.hpp"
#include "data/tokenizers/unicode.hpp"

namespace dstrain::pipeline {

struct Prepend {
  std::string text;  ///< in front of a text that is not empty
};
/// Also a decoder. Without a pattern, `literal` is what is looked for.
struct Replace {
  std::optional<Regex> pattern;
  std::string literal;
  std::string content;
};
struct Lowercase {};
struct StripAccents {};  ///< removes marks; decomposes nothing
struct StripSpace {
  bool left = true;
  bool right = true;
};
struct Nmt {};  ///< removes control characters, makes odd blanks blanks
struct BertNormalizer {
  bool clean_text = true;
  bool handle_chinese_chars = true;
  bool strip_accents = false;
  bool lowercase = true;
};
struct ToByteLevel {};  ///< writes the text in the byte-level alphabet; also a pre-tokenizer's last act
struct Precompiled {
  std::shared_ptr<const Charsmap> rules;
};
using Normalizer = std::variant<unicode::NormalForm, Prepend, Replace, Lowercase, StripAccents, StripSpace, Nmt,
                                BertNormalizer, ToByteLevel, Precompiled>;

/// Runs `steps` in order. Local. Follows Hugging Face tokenizers 0.21.
/// @throws Error  the text grew beyond 64 times its size and 1 MiB (rules that multiply a text)
std::string normalize(const std::vector<Normalizer>& steps, std::string_view text);

/// All places where `replace` finds its pattern, replaced.
std::string replace_all(const Replace& replace, std::string_view text);

/// `text` in the byte-level alphabet.
std::string to_byte_level(std::string_view text);

}  // namespace dstrain::pipeline
