// SPDX-License-Identifier: Apache-2.0
/// The `decoder` steps of a tokenizer.json: tokens back to text.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "data/tokenizers/normalizers.hpp"

namespace dstrain::pipeline {

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
struct DecodeWordPiece {
  std::string prefix = "##";
  bool cleanup = true;
};
struct DecodeBpe {
  std::string suffix = "</w>";
};
struct DecodeCtc {
  std::string pad_token = "<pad>";
  std::string word_delimiter_token = "|";
  bool cleanup = true;
};
using Decoder = std::variant<DecodeByteLevel, DecodeByteFallback, Fuse, Strip, DecodeMetaspace, DecodeWordPiece,
                             DecodeBpe, DecodeCtc, Replace>;

/// Runs `steps` over token texts and joins what is left. Local. Follows Hugging Face tokenizers 0.21.
std::string decode(const std::vector<Decoder>& steps, std::vector<std::string> tokens);

}  // namespace dstrain::pipeline
