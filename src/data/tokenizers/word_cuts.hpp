// SPDX-License-Identifier: Apache-2.0
/// Where a text may be cut before byte-pair merging without changing the result.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_set>

namespace dstrain {

/// Sentencepiece-style models merge over a whole text. But no merge crosses a place "x|▁" when no token that a merge
/// makes holds x directly before ▁: the text can be cut there, and its words can be cached. Spaces apart, nearly all
/// such places qualify.
class WordCuts {
 public:
  /// Makes cutting possible; without this call there are no cuts.
  void enable() noexcept { enabled_ = true; }
  /// A token that some merge makes: its inner places are no cuts.
  void forbid_inside(std::string_view token);

  /// End of the part of `text` that starts at `begin`: the next cut, or the end of the text.
  [[nodiscard]] std::size_t end_of_part(std::string_view text, std::size_t begin) const;

  static constexpr std::string_view mark = "\xE2\x96\x81";  ///< U+2581, sentencepiece's blank

 private:
  bool enabled_ = false;
  std::unordered_set<std::uint32_t> before_mark_;  ///< characters that stand before the mark inside a made token
};

}  // namespace dstrain
