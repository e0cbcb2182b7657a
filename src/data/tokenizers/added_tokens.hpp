// SPDX-License-Identifier: Apache-2.0
/// Added tokens: strings that are found in a text before the model sees it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizers/byte_trie.hpp"

namespace dstrain {

/// One added token with the flags of Hugging Face's `AddedToken`.
struct AddedToken {
  std::string content = {};
  std::int32_t id = -1;
  bool special = false;      ///< dropped by decode(skip_special)
  bool normalized = false;   ///< looked for in the normalised text
  bool lstrip = false;       ///< takes white space on its left along
  bool rstrip = false;       ///< ... on its right
  bool single_word = false;  ///< only where no word character touches it
};

/// A set of added tokens with a search for them: the longest at the leftmost place.
class AddedTokens {
 public:
  /// A part of a text: an added token, or (id -1) what lies between two.
  struct Part {
    std::size_t begin;
    std::size_t end;
    std::int32_t id;
  };

  /// Adds a token, or replaces the one with the same content. Empty contents are ignored.
  /// @param searched  what is looked for: the content, normalised where the token's flag says so
  void add(AddedToken token, std::string_view searched);

  /// Cuts `text` at the tokens whose `normalized` flag is the given one. Empty parts are left out.
  /// @param skip_special  special tokens are ordinary text (`split_special_tokens`)
  void split(std::string_view text, bool normalized, bool skip_special, std::vector<Part>& parts) const;

  [[nodiscard]] const AddedToken* find(std::string_view content) const;
  [[nodiscard]] const AddedToken* find(std::int32_t id) const;
  /// Highest id, -1 where there is none.
  [[nodiscard]] std::int32_t max_id() const noexcept { return max_id_; }
  [[nodiscard]] const std::vector<AddedToken>& tokens() const noexcept { return tokens_; }

 private:
  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string, std::size_t> by_content_;
  std::unordered_map<std::int32_t, std::size_t> by_id_;
  std::array<ByteTrie, 2> tries_;  ///< [normalized]; values are indices into tokens_
  std::int32_t max_id_ = -1;
};

}  // namespace dstrain
