// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/sentencepiece_normalizer.hpp"

#include "data/tokenizers/unicode.hpp"

namespace dstrain {

SentencePieceNormalizer::SentencePieceNormalizer(const SentencePieceProto& proto, const std::string& where)
    : remove_extra_whitespaces_(proto.normalizer.remove_extra_whitespaces),
      escape_whitespaces_(proto.normalizer.escape_whitespaces),
      blank_behind_(proto.treat_whitespace_as_suffix) {
  if (!proto.normalizer.precompiled_charsmap.empty()) rules_.emplace(proto.normalizer.precompiled_charsmap, where);
  for (const auto& piece : proto.pieces) {
    if (piece.type == SentencePieceProto::Type::user_defined) whole_.insert(piece.text, 0);
  }
}

/// What stands at the front of `text`, normalised, and moves behind it.
std::string_view SentencePieceNormalizer::next(std::string_view& text) const {
  std::size_t length = 0;
  std::string_view out;
  if (!whole_.empty() && whole_.longest(text, 0, length) >= 0) {
    out = text.substr(0, length);
  } else if (const auto rule = rules_ ? rules_->longest(text, length) : std::nullopt) {
    out = *rule;
  } else {
    length = 0;
    unicode::next_code_point(text, length);
    out = text.substr(0, length);
  }
  text.remove_prefix(length);
  return out;
}

std::string SentencePieceNormalizer::normalize(std::string_view text, const Options& options) const {
  const std::string_view blank = escape_whitespaces_ ? "\xE2\x96\x81" : " ";
  std::string out;
  out.reserve(text.size() + text.size() / 2 + blank.size());
  const bool strip_front = remove_extra_whitespaces_ && !options.keep_leading_blanks;
  while (strip_front && !text.empty()) {
    std::string_view rest = text;
    if (next(rest) != " ") break;
    text = rest;
  }
  if (text.empty()) return out;
  if (options.add_dummy_prefix && !blank_behind_) out += blank;
  bool after_blank = strip_front;
  while (!text.empty()) {
    std::string_view part = next(text);
    while (after_blank && part.starts_with(' ')) part.remove_prefix(1);
    if (part.empty()) continue;
    for (const char c : part) {
      if (c == ' ') {
        out += blank;
      } else {
        out += c;
      }
    }
    after_blank = remove_extra_whitespaces_ && part.ends_with(' ');
  }
  while (remove_extra_whitespaces_ && out.ends_with(blank)) out.resize(out.size() - blank.size());
  if (options.add_dummy_prefix && blank_behind_) out += blank;
  return unicode::is_valid_utf8(out) ? out : unicode::replace_invalid_utf8(out);
}

}  // namespace dstrain
