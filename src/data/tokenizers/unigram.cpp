// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/unigram.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <span>

#include "core/error.hpp"
#include "data/tokenizers/piece_cache.hpp"
#include "data/tokenizers/unicode.hpp"

namespace dstrain {
namespace {

constexpr double unknown_penalty = 10.0;

Vocabulary vocabulary_of(const UnigramDefinition& definition, const std::string& where) {
  Vocabulary::Entries entries;
  entries.reserve(definition.pieces.size());
  for (const auto& [piece, score] : definition.pieces) {
    if (!std::isfinite(score)) throw ConfigError(fmt::format("the score of \"{}\" is not finite", piece), where);
    entries.emplace_back(piece, static_cast<std::int32_t>(entries.size()));
  }
  return {entries, where};
}

bool flag(const std::vector<bool>& flags, std::size_t index, bool otherwise) {
  return flags.empty() ? otherwise : flags[index];
}

}  // namespace

UnigramModel::UnigramModel(UnigramDefinition definition, const std::string& where)
    : WordModel(vocabulary_of(definition, where)),
      user_defined_(std::move(definition.user_defined)),
      unk_id_(definition.unk_id),
      fuse_unk_(definition.fuse_unk),
      single_precision_(definition.single_precision),
      lookup_fused_(!definition.single_precision),
      identity_(PieceCache::next_identity()) {
  const auto& pieces = definition.pieces;
  if (pieces.empty()) throw ConfigError("a Unigram model without pieces", where);
  if (unk_id_ >= static_cast<std::int32_t>(pieces.size())) {
    throw ConfigError(fmt::format("unk_id {} is not in the vocabulary", unk_id_), where);
  }
  double lowest = single_precision_ ? FLT_MAX : std::numeric_limits<double>::infinity();
  highest_score_ = FLT_MIN;  // sentencepiece starts from the smallest positive number: its own pieces are below it
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    scores_.push_back(pieces[id].second);
    if (flag(definition.counts_for_unknown, id, true)) {
      lowest = std::min(lowest, pieces[id].second);
      highest_score_ = std::max(highest_score_, pieces[id].second);
    }
    if (flag(definition.searched, id, true) && !pieces[id].first.empty()) {
      trie_.insert(pieces[id].first, static_cast<std::int32_t>(id));
    }
  }
  unknown_score_ =
      single_precision_ ? static_cast<float>(lowest) - static_cast<float>(unknown_penalty) : lowest - unknown_penalty;
  if (definition.byte_fallback) {
    for (int b = 0; b < 256; ++b) byte_ids_.push_back(vocabulary().find(fmt::format("<0x{:02X}>", b)));
  }
}

template <typename Sum>
void UnigramModel::viterbi(std::string_view piece, std::vector<Node>& ends) const {
  ends.assign(piece.size() + 1, Node{});
  const auto offer = [&](std::size_t end, double candidate, std::int32_t id, std::size_t start) {
    Node& node = ends[end];
    if (node.start >= 0 && candidate <= node.score) return;
    node = {static_cast<double>(static_cast<Sum>(candidate)), id, static_cast<std::int32_t>(start)};
  };
  for (std::size_t start = 0; start < piece.size();) {
    std::size_t after = start;
    unicode::next_code_point(piece, after);
    const double here = ends[start].score;
    bool has_single = false;
    trie_.each_prefix(piece, start, [&](std::size_t end, std::int32_t id) {
      const auto index = static_cast<std::size_t>(id);
      // Candidates are compared in double and kept in Sum: sentencepiece's 0.1 makes the expression a double.
      const bool bonus = !user_defined_.empty() && user_defined_[index];
      const double score =
          bonus ? static_cast<Sum>(end - start) * static_cast<Sum>(highest_score_) - 0.1 : scores_[index];
      offer(end, score + here, id, start);
      has_single = has_single || end == after;
    });
    if (!has_single) offer(after, static_cast<double>(static_cast<Sum>(unknown_score_ + here)), -1, start);
    start = after;
  }
}

void UnigramModel::encode(std::string_view piece, std::vector<std::int32_t>& ids) const {
  DSTRAIN_CHECK(piece.size() < static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()),
                "a text of {} bytes is too long for a Unigram model", piece.size());
  const bool cached = PieceCache::fits(piece);
  if (cached && PieceCache::of_this_thread(identity_).append(piece, ids)) return;
  const std::size_t before = ids.size();
  thread_local std::vector<Node> ends;
  thread_local std::vector<std::pair<std::int32_t, std::int32_t>> path;  // start and id, from the back
  if (single_precision_) {
    viterbi<float>(piece, ends);
  } else {
    viterbi<double>(piece, ends);
  }
  const auto unknown = [this](std::int32_t id) { return id < 0 || id == unk_id_; };
  path.clear();
  for (auto end = static_cast<std::int32_t>(piece.size()); end > 0;) {
    const Node& node = ends[static_cast<std::size_t>(end)];
    const bool fuses = fuse_unk_ && unknown(node.id) && !path.empty() && unknown(path.back().second);
    if (fuses) path.pop_back();
    path.emplace_back(node.start, node.id);
    end = node.start;
  }
  for (std::size_t i = path.size(); i-- > 0;) {
    const auto [start, id] = path[i];
    if (!unknown(id)) {
      ids.push_back(id);
    } else {
      const auto end = i > 0 ? static_cast<std::size_t>(path[i - 1].first) : piece.size();
      append_unknown(piece.substr(static_cast<std::size_t>(start), end - static_cast<std::size_t>(start)), ids);
    }
  }
  if (cached) PieceCache::of_this_thread(identity_).store(piece, std::span(ids).subspan(before));
}

void UnigramModel::append_unknown(std::string_view text, std::vector<std::int32_t>& ids) const {
  if (lookup_fused_) {
    if (const std::int32_t id = vocabulary().find(text); id >= 0) return ids.push_back(id);
  }
  const auto byte_id = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
  if (!byte_ids_.empty() && std::all_of(text.begin(), text.end(), [&](char c) { return byte_id(c) >= 0; })) {
    for (const char c : text) ids.push_back(byte_id(c));
    return;
  }
  if (unk_id_ < 0)
    throw Error(fmt::format("the Unigram tokenizer cannot encode \"{}\": it has no unknown token", text));
  ids.push_back(unk_id_);
}

}  // namespace dstrain
