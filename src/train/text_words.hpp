// SPDX-License-Identifier: Apache-2.0
/// Texts as words, for scores that count them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dstrain {

/// The words of a text as jieba's default mode cuts it: "3.5%" and "foo" are words, so is every sign, white space
/// included; a row of "+#&._%-" stays together.
///
/// jieba looks Chinese up in a dictionary of its own; here each Chinese character is a word. Texts without any are cut
/// as jieba cuts them. Local, pure. Bytes that are no UTF-8 are signs.
std::vector<std::string> segment_words(std::string_view text);

/// The words that rouge_chinese counts in `words` joined by blanks: it cuts the text into sentences and drops white
/// space; a blank line counts as an empty word. Local, pure.
std::vector<std::string> counted_words(const std::vector<std::string>& words);

}  // namespace dstrain
