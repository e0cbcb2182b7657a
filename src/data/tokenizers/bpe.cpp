// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/bpe.hpp"

#include <algorithm>
#include <bit>
#include <functional>
#include <queue>
#include <span>

#include "core/error.hpp"
#include "data/tokenizers/byte_level.hpp"
#include "data/tokenizers/piece_cache.hpp"
#include "data/tokenizers/unicode.hpp"

namespace dstrain {
namespace {

constexpr std::size_t short_piece = 48;  // symbols; up to here scanning beats a heap

std::uint64_t pair_key(std::int32_t left, std::int32_t right) noexcept {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) | static_cast<std::uint32_t>(right);
}
std::size_t spread(std::uint64_t key) noexcept { return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15ULL) >> 20); }

}  // namespace

void BpeModel::MergeTable::reserve(std::size_t count) {
  slots_.assign(std::bit_ceil(std::max<std::size_t>(16, 2 * count)), Slot{});
  mask_ = slots_.size() - 1;
}

void BpeModel::MergeTable::insert(std::int32_t left, std::int32_t right, Merge merge) {
  const std::uint64_t key = pair_key(left, right);
  std::size_t i = spread(key) & mask_;
  while (slots_[i].key != ~std::uint64_t{0} && slots_[i].key != key) i = (i + 1) & mask_;
  slots_[i] = {key, merge};
}

BpeModel::Merge BpeModel::MergeTable::find(std::int32_t left, std::int32_t right) const noexcept {
  const std::uint64_t key = pair_key(left, right);
  for (std::size_t i = spread(key) & mask_;; i = (i + 1) & mask_) {
    if (slots_[i].key == key) return slots_[i].merge;
    if (slots_[i].key == ~std::uint64_t{0}) return {};
  }
}

BpeModel::BpeModel(BpeDefinition definition, const std::string& where)
    : WordModel(Vocabulary(definition.vocab, where)),
      loose_(std::move(definition.loose)),
      prefix_(definition.continuing_subword_prefix),
      suffix_(definition.end_of_word_suffix),
      fuse_unk_(definition.fuse_unk),
      byte_fallback_(definition.byte_fallback),
      ignore_merges_(definition.ignore_merges),
      byte_level_(definition.byte_level),
      identity_(PieceCache::next_identity()) {
  for (std::size_t i = 0; i < loose_.size(); ++i)
    loose_ids_.emplace(loose_[i], vocabulary().size() + static_cast<std::int32_t>(i));
  merges_.reserve(definition.merges.size());
  for (const auto& m : definition.merges) merges_.insert(m.left, m.right, {m.rank, m.result});
  read_symbols(definition);
  read_cuts(definition);
  if (!definition.unk_token.empty()) {
    unk_id_ = vocabulary().find(definition.unk_token);
    if (unk_id_ < 0) {
      throw ConfigError(fmt::format("the unknown token \"{}\" is not in the vocabulary", definition.unk_token), where);
    }
  }
}

void BpeModel::read_symbols(const BpeDefinition& definition) {
  for (int b = 0; b < 256; ++b) {
    std::string name;
    if (byte_level_) {
      unicode::append_utf8(name, byte_level_character(static_cast<unsigned char>(b)));
    } else {
      name = fmt::format("<0x{:02X}>", b);
    }
    byte_ids_[static_cast<std::size_t>(b)] = vocabulary().find(name);
  }
  for (const std::int32_t id : definition.whole) {
    if (!vocabulary().token(id).empty()) whole_.insert(vocabulary().token(id), id);
  }
  if (!ignore_merges_ || !byte_level_) return;
  raw_tokens_.resize(static_cast<std::size_t>(vocabulary().size()));
  for (std::size_t id = 0; id < raw_tokens_.size(); ++id) {
    raw_tokens_[id] = byte_level_bytes(vocabulary().token(static_cast<std::int32_t>(id))).value_or("");
    if (!raw_tokens_[id].empty()) raw_ids_.emplace(raw_tokens_[id], static_cast<std::int32_t>(id));
  }
}

void BpeModel::read_cuts(const BpeDefinition& definition) {
  // A mark that is no token could fuse with unknown neighbours; a piece that is looked up whole must stay whole; a
  // merge of byte tokens joins characters that its text does not show; prefix and suffix depend on the piece's ends.
  bool possible =
      !byte_level_ && !ignore_merges_ && prefix_.empty() && suffix_.empty() && vocabulary().find(WordCuts::mark) >= 0;
  for (const std::int32_t id : definition.whole) cuts_.forbid_inside(vocabulary().token(id));
  const auto is_byte = [&](std::int32_t id) {
    return id < vocabulary().size() && vocabulary().token(id).starts_with("<0x");
  };
  for (const auto& merge : definition.merges) {
    cuts_.forbid_inside(vocabulary().token(merge.result));
    possible = possible && !is_byte(merge.left) && !is_byte(merge.right);
  }
  if (possible) cuts_.enable();
}

void BpeModel::encode(std::string_view piece, std::vector<std::int32_t>& ids) const {
  for (std::size_t begin = 0; begin < piece.size();) {
    const std::size_t end = cuts_.end_of_part(piece, begin);
    encode_part(piece.substr(begin, end - begin), ids);
    begin = end;
  }
}

void BpeModel::encode_part(std::string_view piece, std::vector<std::int32_t>& ids) const {
  if (!PieceCache::fits(piece)) return encode_uncached(piece, ids);
  PieceCache& cache = PieceCache::of_this_thread(identity_);
  if (cache.append(piece, ids)) return;
  const std::size_t before = ids.size();
  encode_uncached(piece, ids);
  cache.store(piece, std::span(ids).subspan(before));
}

void BpeModel::encode_uncached(std::string_view piece, std::vector<std::int32_t>& ids) const {
  if (ignore_merges_) {
    std::int32_t whole = -1;
    if (byte_level_) {
      if (const auto it = raw_ids_.find(piece); it != raw_ids_.end()) whole = it->second;
    } else {
      whole = vocabulary().find(piece);
    }
    if (whole >= 0) return ids.push_back(whole);
  }
  thread_local std::vector<std::int32_t> symbols;
  symbols.clear();
  if (byte_level_) {
    byte_symbols(piece, symbols);
  } else {
    character_symbols(piece, symbols);
  }
  if (symbols.size() <= short_piece) {
    merge_short(symbols);
  } else {
    merge_long(symbols);
  }
  if (!loose_.empty()) settle_loose(symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

void BpeModel::byte_symbols(std::string_view piece, std::vector<std::int32_t>& ids) const {
  Unknown unknown;
  for (const char c : piece) {
    const std::int32_t id = byte_ids_[static_cast<unsigned char>(c)];
    if (id < 0) {
      append_unknown({}, unknown, ids);
    } else {
      flush_unknown(unknown, ids);
      ids.push_back(id);
    }
  }
  flush_unknown(unknown, ids);
}

std::int32_t BpeModel::symbol_of(std::string_view character, bool first, bool last, std::string& scratch) const {
  const bool prefixed = !first && !prefix_.empty();
  const bool suffixed = last && !suffix_.empty();
  if (!prefixed && !suffixed) return vocabulary().find(character);
  scratch = prefixed ? prefix_ : "";
  scratch += character;
  if (suffixed) scratch += suffix_;
  return vocabulary().find(scratch);
}

void BpeModel::character_symbols(std::string_view piece, std::vector<std::int32_t>& ids) const {
  Unknown unknown;
  std::string scratch;
  for (std::size_t pos = 0; pos < piece.size();) {
    const std::size_t begin = pos;
    std::int32_t id = whole_.empty() ? -1 : whole_.longest(piece, begin, pos);
    if (id < 0) {
      unicode::next_code_point(piece, pos);
      const auto character = piece.substr(begin, pos - begin);
      id = symbol_of(character, begin == 0, pos == piece.size(), scratch);
      if (id < 0 && !loose_.empty()) {
        if (const auto it = loose_ids_.find(character); it != loose_ids_.end()) id = it->second;
      }
    }
    if (id < 0) {
      append_unknown(piece.substr(begin, pos - begin), unknown, ids);
    } else {
      flush_unknown(unknown, ids);
      ids.push_back(id);
    }
  }
  flush_unknown(unknown, ids);
}

// A pending unknown token waits for the next known symbol or the end; bytes in between overtake it. That is how the
// compatible program orders them where only some characters have all their bytes in the vocabulary.
void BpeModel::append_unknown(std::string_view character, Unknown& unknown, std::vector<std::int32_t>& ids) const {
  const auto id_of = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
  if (byte_fallback_ && !byte_level_ &&
      std::all_of(character.begin(), character.end(), [&](char c) { return id_of(c) >= 0; })) {
    for (const char c : character) ids.push_back(id_of(c));
    return;
  }
  if (unk_id_ < 0) return;  // the compatible program drops such characters
  if (!fuse_unk_) flush_unknown(unknown, ids);
  unknown.pending = true;
}

/// Loose characters that found no partner are unknown, like their unknown neighbours.
void BpeModel::settle_loose(std::vector<std::int32_t>& ids) const {
  const std::int32_t first = vocabulary().size();
  if (std::none_of(ids.begin(), ids.end(), [&](std::int32_t id) { return id >= first; })) return;
  std::vector<std::int32_t> out;
  Unknown unknown;
  for (const std::int32_t id : ids) {
    if (id >= first) {
      append_unknown(loose_[static_cast<std::size_t>(id - first)], unknown, out);
    } else if (id == unk_id_) {
      if (!fuse_unk_) flush_unknown(unknown, out);
      unknown.pending = true;
    } else {
      flush_unknown(unknown, out);
      out.push_back(id);
    }
  }
  flush_unknown(unknown, out);
  ids = std::move(out);
}

void BpeModel::flush_unknown(Unknown& unknown, std::vector<std::int32_t>& ids) const {
  if (unknown.pending) ids.push_back(unk_id_);
  unknown.pending = false;
}

void BpeModel::merge_short(std::vector<std::int32_t>& ids) const {
  std::array<Merge, short_piece> next;  // next[i]: the merge of symbols i and i + 1
  std::size_t n = ids.size();
  for (std::size_t i = 0; i + 1 < n; ++i) next[i] = merges_.find(ids[i], ids[i + 1]);
  while (n > 1) {
    const auto best = std::min_element(next.begin(), next.begin() + static_cast<std::ptrdiff_t>(n - 1),
                                       [](const Merge& a, const Merge& b) { return a.rank < b.rank; });
    if (best->rank == no_rank) break;
    const auto i = static_cast<std::size_t>(best - next.begin());
    ids[i] = best->id;
    std::move(ids.begin() + static_cast<std::ptrdiff_t>(i + 2), ids.begin() + static_cast<std::ptrdiff_t>(n),
              ids.begin() + static_cast<std::ptrdiff_t>(i + 1));
    std::move(next.begin() + static_cast<std::ptrdiff_t>(i + 1), next.begin() + static_cast<std::ptrdiff_t>(n - 1),
              next.begin() + static_cast<std::ptrdiff_t>(i));
    --n;
    if (i + 1 < n) next[i] = merges_.find(ids[i], ids[i + 1]);
    if (i > 0) next[i - 1] = merges_.find(ids[i - 1], ids[i]);
  }
  ids.resize(n);
}

void BpeModel::merge_long(std::vector<std::int32_t>& ids) const {
  struct Candidate {
    std::uint32_t rank;
    std::int32_t position;
    std::int32_t left, right, merged;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  const auto n = static_cast<std::int32_t>(ids.size());
  std::vector<std::int32_t> next(ids.size());
  std::vector<std::int32_t> previous(ids.size());
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto at = [&](std::int32_t i) -> std::int32_t& { return ids[static_cast<std::size_t>(i)]; };
  const auto offer = [&](std::int32_t left, std::int32_t right) {
    const Merge merge = merges_.find(at(left), at(right));
    if (merge.rank != no_rank) queue.push({merge.rank, left, at(left), at(right), merge.id});
  };
  for (std::int32_t i = 0; i < n; ++i) {
    next[static_cast<std::size_t>(i)] = i + 1 < n ? i + 1 : -1;
    previous[static_cast<std::size_t>(i)] = i - 1;
    if (i + 1 < n) offer(i, i + 1);
  }
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    const std::int32_t left = top.position;
    // A symbol that was swallowed has id -1; a candidate whose neighbours changed is out of date.
    if (at(left) != top.left) continue;
    const std::int32_t right = next[static_cast<std::size_t>(left)];
    if (right < 0 || at(right) != top.right) continue;
    at(left) = top.merged;
    at(right) = -1;
    const std::int32_t after = next[static_cast<std::size_t>(right)];
    next[static_cast<std::size_t>(left)] = after;
    if (after >= 0) {
      previous[static_cast<std::size_t>(after)] = left;
      offer(left, after);
    }
    if (const std::int32_t before = previous[static_cast<std::size_t>(left)]; before >= 0) offer(before, left);
  }
  std::erase(ids, -1);
}

}  // namespace dstrain
