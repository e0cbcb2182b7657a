// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/wordpiece.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "data/tokenizers/unicode.hpp"

namespace dstrain {
namespace {

std::int32_t unknown_id(const Vocabulary& vocabulary, const std::string& token, std::string_view piece) {
  const std::int32_t id = vocabulary.find(token);
  if (id < 0)
    throw Error(fmt::format("\"{}\" is not in the vocabulary, and neither is its unknown token \"{}\"", piece, token));
  return id;
}

std::int64_t characters_of(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; });
}

}  // namespace

WordPieceModel::WordPieceModel(Vocabulary vocabulary, WordPieceOptions options)
    : WordModel(std::move(vocabulary)), options_(std::move(options)) {
  for (std::int32_t id = 0; id < this->vocabulary().size(); ++id) {
    longest_token_ = std::max(longest_token_, this->vocabulary().token(id).size());
  }
}

void WordPieceModel::encode(std::string_view piece, std::vector<std::int32_t>& ids) const {
  const std::size_t before = ids.size();
  if (characters_of(piece) <= options_.max_input_chars_per_word && encode_known(piece, ids)) return;
  ids.resize(before);
  ids.push_back(unknown_id(vocabulary(), options_.unk_token, piece));
}

bool WordPieceModel::encode_known(std::string_view piece, std::vector<std::int32_t>& ids) const {
  std::string candidate;
  for (std::size_t start = 0; start < piece.size();) {
    std::size_t end = std::min(piece.size(), start + longest_token_);
    while (end > start && end < piece.size() && (static_cast<unsigned char>(piece[end]) & 0xC0U) == 0x80U) --end;
    std::int32_t id = -1;
    for (; end > start; end = unicode::previous_code_point(piece, end)) {
      candidate = start > 0 ? options_.continuing_subword_prefix : "";
      candidate += piece.substr(start, end - start);
      id = vocabulary().find(candidate);
      if (id >= 0) break;
    }
    if (id < 0) return false;
    ids.push_back(id);
    start = end;
  }
  return true;
}

void WordLevelModel::encode(std::string_view piece, std::vector<std::int32_t>& ids) const {
  const std::int32_t id = vocabulary().find(piece);
  ids.push_back(id >= 0 ? id : unknown_id(vocabulary(), unk_token_, piece));
}

}  // namespace dstrain
