// SPDX-License-Identifier: Apache-2.0
/// The steps of a tokenizer.json around its model: normalizers, pre-tokenizers, decoders.
#pragma once

#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "data/tokenizers/regex.hpp"
#include "data/tokenizers/text_model.hpp"
#include "data/tokenizers/unicode.hpp"

namespace dstrain::pipeline {

// Normalizers.
struct Prepend {
  std::string text;
};
/// Also a decoder.
struct Replace {
  Regex pattern;
  std::string content;
};
using Normalizer = std::variant<unicode::NormalForm, Prepend, Replace>;

/// Runs `steps` in order.
std::string normalize(const std::vector<Normalizer>& steps, std::string_view text);

// Pre-tokenizers.
enum class SplitBehavior : std::uint8_t { removed, isolated, merged_with_previous, merged_with_next };
struct Split {
  Regex pattern;
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;  ///< the pattern describes what lies between the cuts
};
/// The byte-level alphabet itself is left out: BpeModel works on the bytes.
struct ByteLevel {
  bool add_prefix_space = false;
  std::optional<Regex> pattern;  ///< GPT-2's, where `use_regex`
};
struct Metaspace {
  std::string replacement = "\xE2\x96\x81";  ///< U+2581
  enum class Prepend : std::uint8_t { never, first, always } prepend = Prepend::always;
  bool split = true;
};
struct Digits {
  bool individual = false;
};
using PreTokenizer = std::variant<Split, ByteLevel, Metaspace, Digits>;

/// A stretch of the text; `at_start` where nothing stands before it in the whole text.
struct Stretch {
  std::string_view text;
  bool at_start = false;
};

/// Cuts stretches into pieces, step by step. `made` keeps texts that a step made.
void pre_tokenize(const std::vector<PreTokenizer>& steps, std::vector<Stretch>& stretches,
                  std::list<std::string>& made);

// Decoders.
struct DecodeByteLevel {};
struct DecodeByteFallback {};
struct Fuse {};
struct Strip {
  char32_t content = U' ';
  std::size_t start = 0;
  std::size_t stop = 0;
};
struct DecodeMetaspace {
  std::string replacement;
  bool prepended = true;
};
using Decoder = std::variant<DecodeByteLevel, DecodeByteFallback, Fuse, Strip, DecodeMetaspace, Replace>;

/// Runs `steps` over token texts and joins what is left; without steps, tokens are joined by blanks.
std::string decode(const std::vector<Decoder>& steps, std::vector<std::string> tokens);

}  // namespace dstrain::pipeline
