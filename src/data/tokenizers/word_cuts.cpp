// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/word_cuts.hpp"

#include "data/tokenizers/unicode.hpp"

namespace dstrain {
namespace {

std::uint32_t character_before(std::string_view text, std::size_t at) {
  std::size_t pos = unicode::previous_code_point(text, at);
  return static_cast<std::uint32_t>(unicode::next_code_point(text, pos));
}

}  // namespace

void WordCuts::forbid_inside(std::string_view token) {
  for (std::size_t at = token.find(mark, 1); at != std::string_view::npos; at = token.find(mark, at + 1)) {
    before_mark_.insert(character_before(token, at));
  }
}

std::size_t WordCuts::end_of_part(std::string_view text, std::size_t begin) const {
  if (!enabled_) return text.size();
  for (std::size_t at = text.find(mark, begin + 1); at != std::string_view::npos; at = text.find(mark, at + 1)) {
    if (!before_mark_.contains(character_before(text, at))) return at;
  }
  return text.size();
}

}  // namespace dstrain
