// SPDX-License-Identifier: Apache-2.0
/// Sentencepiece's compiled normalisation rules ("precompiled_charsmap"): strings and what they become.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dstrain {

/// A double-array trie (Darts) over the left sides, and the right sides as NUL-terminated strings.
class Charsmap {
 public:
  /// @throws ConfigError  the sizes in `bytes` do not fit together
  Charsmap(std::string_view bytes, const std::string& where);

  /// The rule with the longest (sentencepiece) or shortest (Hugging Face) left side that starts `text`.
  /// @param length  bytes of the left side
  [[nodiscard]] std::optional<std::string_view> longest(std::string_view text, std::size_t& length) const;
  [[nodiscard]] std::optional<std::string_view> shortest(std::string_view text) const;

  /// Hugging Face's `Precompiled` normaliser: grapheme by grapheme; one of at most 5 bytes is looked up whole first,
  /// then each of its characters. A rule replaces all of what was looked up, also where its left side is only the start
  /// of it.
  [[nodiscard]] std::string normalize_graphemes(std::string_view text) const;

 private:
  template <typename Found>
  void walk(std::string_view text, const Found& found) const;
  [[nodiscard]] std::string_view replacement(std::uint32_t offset) const;

  std::vector<std::uint32_t> units_;
  std::string replacements_;
};

}  // namespace dstrain
