// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/added_tokens.hpp"

#include <algorithm>
#include <utility>

#include "data/tokenizers/unicode.hpp"

namespace dstrain {
namespace {

bool word_touches(std::string_view text, std::size_t begin, std::size_t end) {
  if (begin > 0) {
    std::size_t pos = unicode::previous_code_point(text, begin);
    if (unicode::is_word(unicode::next_code_point(text, pos))) return true;
  }
  std::size_t pos = end;
  return end < text.size() && unicode::is_word(unicode::next_code_point(text, pos));
}

std::size_t skip_space_left(std::string_view text, std::size_t begin, std::size_t limit) {
  while (begin > limit) {
    const std::size_t before = unicode::previous_code_point(text, begin);
    std::size_t pos = before;
    if (!unicode::is_space(unicode::next_code_point(text, pos))) break;
    begin = before;
  }
  return std::max(begin, limit);
}

std::size_t skip_space_right(std::string_view text, std::size_t end) {
  while (end < text.size()) {
    std::size_t pos = end;
    if (!unicode::is_space(unicode::next_code_point(text, pos))) break;
    end = pos;
  }
  return end;
}

}  // namespace

void AddedTokens::add(AddedToken token, std::string_view searched) {
  if (token.content.empty()) return;
  if (const auto it = by_content_.find(token.content); it != by_content_.end()) {
    // A change of `normalized` would leave the old trie entry behind: the search compares the flag.
    by_id_.erase(tokens_[it->second].id);
    tokens_[it->second] = token;
  } else {
    by_content_.emplace(token.content, tokens_.size());
    tokens_.push_back(token);
  }
  const std::size_t index = by_content_.at(token.content);
  by_id_[token.id] = index;
  max_id_ = std::max(max_id_, token.id);
  if (!searched.empty()) tries_[token.normalized ? 1 : 0].insert(searched, static_cast<std::int32_t>(index));
}

void AddedTokens::split(std::string_view text, bool normalized, bool skip_special, std::vector<Part>& parts) const {
  parts.clear();
  // of two contents that normalise alike, the trie keeps the first
  const ByteTrie& trie = tries_[normalized ? 1 : 0];
  std::size_t done = 0;
  for (std::size_t pos = 0; pos < text.size();) {
    std::size_t end = pos;
    const std::int32_t index = trie.longest(text, pos, end);
    if (index < 0) {
      ++pos;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<std::size_t>(index)];
    const std::size_t match_end = end;
    const bool taken = token.normalized == normalized && !(skip_special && token.special) &&
                       !(token.single_word && word_touches(text, pos, end));
    if (taken) {
      // rstrip may already have taken blanks that this token itself consists of: it counts all the same.
      const std::size_t begin = token.lstrip ? skip_space_left(text, pos, std::min(done, pos)) : pos;
      if (token.rstrip) end = skip_space_right(text, end);
      if (begin > done) parts.push_back({done, begin, -1});
      parts.push_back({begin, end, token.id});
      done = end;
    }
    pos = match_end;
  }
  if (done < text.size()) parts.push_back({done, text.size(), -1});
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto it = by_content_.find(std::string(content));
  return it == by_content_.end() ? nullptr : &tokens_[it->second];
}

const AddedToken* AddedTokens::find(std::int32_t id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &tokens_[it->second];
}

}  // namespace dstrain
