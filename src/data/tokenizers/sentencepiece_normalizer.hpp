// SPDX-License-Identifier: Apache-2.0
/// How sentencepiece prepares a text before it is cut into pieces.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "data/tokenizers/byte_trie.hpp"
#include "data/tokenizers/charsmap.hpp"
#include "data/tokenizers/sentencepiece_proto.hpp"

namespace dstrain {

/// Rules of the charsmap, blanks to U+2581, a leading blank, runs of blanks to one: each where the model asks for it.
class SentencePieceNormalizer {
 public:
  struct Options {
    bool add_dummy_prefix = true;
    bool keep_leading_blanks = false;  ///< whatever remove_extra_whitespaces says: the text goes on behind another
  };

  SentencePieceNormalizer(const SentencePieceProto& proto, const std::string& where);

  /// `text` is well-formed UTF-8; so is the result.
  [[nodiscard]] std::string normalize(std::string_view text, const Options& options) const;

 private:
  [[nodiscard]] std::string_view next(std::string_view& text) const;

  std::optional<Charsmap> rules_;
  ByteTrie whole_;  ///< user-defined pieces stay as they are
  bool remove_extra_whitespaces_, escape_whitespaces_, blank_behind_;
};

}  // namespace dstrain
