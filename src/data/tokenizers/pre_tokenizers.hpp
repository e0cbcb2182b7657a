// SPDX-License-Identifier: Apache-2.0
/// The `pre_tokenizer` steps of a tokenizer.json: they cut a text into the pieces that the model sees.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "data/tokenizers/regex.hpp"

namespace dstrain::pipeline {

/// What becomes of the stretches that a pattern matches (the delimiters). `contiguous`: delimiters that touch are one.
enum class SplitBehavior : std::uint8_t { removed, isolated, merged_with_previous, merged_with_next, contiguous };

struct Split {
  std::optional<Regex> pattern;
  std::string literal;  ///< looked for where there is no pattern
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;  ///< the pattern describes what lies between the delimiters
};
struct ByteLevel {
  bool add_prefix_space = false;
  std::optional<Regex> pattern;  ///< GPT-2's, where `use_regex`
  bool write_alphabet = true;    ///< false: pieces stay raw bytes, for a BpeModel that works on them
};
struct Metaspace {
  std::string replacement = "\xE2\x96\x81";  ///< U+2581
  enum class Prepend : std::uint8_t { never, first, always } prepend = Prepend::always;
  bool split = true;
};
/// A cut at characters of a kind.
struct CharacterSplit {
  enum class Kind : std::uint8_t { number, punctuation, space, delimiter } kind = Kind::space;
  SplitBehavior behavior = SplitBehavior::isolated;
  char32_t delimiter = 0;
};
struct Words {};  ///< type Whitespace: runs of word characters, and runs of others that are no white space
struct BertWords {};
struct UnicodeScripts {};
struct FixedLength {
  std::size_t characters = 5;
};
using PreTokenizer =
    std::variant<Split, ByteLevel, Metaspace, CharacterSplit, Words, BertWords, UnicodeScripts, FixedLength>;

/// A stretch of the text; `at_start` where nothing stands before it in the whole text.
struct Stretch {
  std::string_view text;
  bool at_start = false;
};

/// Cuts stretches into pieces, step by step. `made` keeps texts that a step made. Follows Hugging Face tokenizers 0.21.
void pre_tokenize(const std::vector<PreTokenizer>& steps, std::vector<Stretch>& stretches,
                  std::deque<std::string>& made);

}  // namespace dstrain::pipeline
