// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/bpe.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <functional>
#include <optional>
#include <queue>

#include "core/error.hpp"
#include "data/tokenizers/piece_cache.hpp"
#include "data/tokenizers/unicode.hpp"

namespace dstrain {
namespace {

constexpr std::size_t short_piece = 48;  // symbols; up to here scanning beats a heap

struct ByteAlphabet {
  std::array<char32_t, 256> character{};
  std::array<int, 324> byte{};  // the alphabet ends at U+0143

  ByteAlphabet() {
    byte.fill(-1);
    char32_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool itself = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
      const char32_t c = itself ? static_cast<char32_t>(b) : next++;
      character[static_cast<std::size_t>(b)] = c;
      byte[c] = b;
    }
  }
};

const ByteAlphabet& alphabet() {
  static const ByteAlphabet instance;
  return instance;
}

/// A token of the byte-level alphabet as raw bytes; none where a character does not belong to the alphabet.
std::optional<std::string> raw_bytes(std::string_view token) {
  std::string raw;
  for (std::size_t pos = 0; pos < token.size();) {
    const int byte = byte_level_byte(unicode::next_code_point(token, pos));
    if (byte < 0) return std::nullopt;
    raw += static_cast<char>(byte);
  }
  return raw;
}

std::uint64_t next_identity() {
  static std::atomic<std::uint64_t> counter{0};
  return ++counter;
}

}  // namespace

char32_t byte_level_character(unsigned char byte) noexcept { return alphabet().character[byte]; }

int byte_level_byte(char32_t character) noexcept {
  return character < alphabet().byte.size() ? alphabet().byte[character] : -1;
}

void BpeModel::MergeTable::reserve(std::size_t count) {
  slots_.assign(std::bit_ceil(std::max<std::size_t>(16, 2 * count)), Slot{});
  mask_ = slots_.size() - 1;
}

namespace {
std::uint64_t pair_key(std::int32_t left, std::int32_t right) noexcept {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) | static_cast<std::uint32_t>(right);
}
std::size_t spread(std::uint64_t key) noexcept { return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15ULL) >> 20); }
}  // namespace

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
    : fuse_unk_(definition.fuse_unk),
      byte_fallback_(definition.byte_fallback),
      ignore_merges_(definition.ignore_merges),
      byte_level_(definition.byte_level),
      identity_(next_identity()) {
  read_vocab(definition, where);
  read_merges(definition, where);
  read_cuts(definition);
  if (!definition.unk_token.empty()) {
    unk_id_ = find(definition.unk_token);
    if (unk_id_ < 0) {
      throw ConfigError(fmt::format("the unknown token \"{}\" is not in the vocabulary", definition.unk_token), where);
    }
  }
}

void BpeModel::read_vocab(const BpeDefinition& definition, const std::string& where) {
  std::int32_t highest = -1;
  for (const auto& [token, id] : definition.vocab) {
    if (id < 0 || id >= max_vocabulary) {
      throw ConfigError(fmt::format("token \"{}\" has the id {}; ids lie in [0, {})", token, id, max_vocabulary),
                        where);
    }
    highest = std::max(highest, id);
  }
  tokens_.resize(static_cast<std::size_t>(highest + 1));
  for (const auto& [token, id] : definition.vocab) tokens_[static_cast<std::size_t>(id)] = token;
  ids_.reserve(definition.vocab.size());
  for (const auto& entry : definition.vocab) {
    const auto& token = tokens_[static_cast<std::size_t>(entry.second)];
    if (token != entry.first) throw ConfigError(fmt::format("two tokens have the id {}", entry.second), where);
    ids_.emplace(token, entry.second);
  }
  for (int b = 0; b < 256; ++b) {
    std::string name;
    if (byte_level_) {
      unicode::append_utf8(name, byte_level_character(static_cast<unsigned char>(b)));
    } else {
      name = fmt::format("<0x{:02X}>", b);
    }
    byte_ids_[static_cast<std::size_t>(b)] = find(name);
  }
  if (!ignore_merges_ || !byte_level_) return;
  raw_tokens_.resize(tokens_.size());
  for (std::size_t id = 0; id < tokens_.size(); ++id) {
    const auto raw = raw_bytes(tokens_[id]);
    if (!raw || raw->empty()) continue;
    raw_tokens_[id] = *raw;
    raw_ids_.emplace(raw_tokens_[id], static_cast<std::int32_t>(id));
  }
}

void BpeModel::read_merges(const BpeDefinition& definition, const std::string& where) {
  merges_.reserve(definition.merges.size());
  std::string joined;
  for (std::size_t rank = 0; rank < definition.merges.size(); ++rank) {
    const auto& [left, right] = definition.merges[rank];
    joined = left + right;
    const std::int32_t a = find(left);
    const std::int32_t b = find(right);
    const std::int32_t both = find(joined);
    if (a < 0 || b < 0 || both < 0) {
      throw ConfigError(
          fmt::format("merge {} (\"{}\" + \"{}\") names a token that is not in the vocabulary", rank, left, right),
          where);
    }
    merges_.insert(a, b, {static_cast<std::uint32_t>(rank), both});
  }
}

std::int32_t BpeModel::find(std::string_view token) const {
  const auto it = ids_.find(token);
  return it == ids_.end() ? -1 : it->second;
}

std::string_view BpeModel::token(std::int32_t id) const {
  return id >= 0 && id < size() ? std::string_view(tokens_[static_cast<std::size_t>(id)]) : std::string_view();
}

void BpeModel::read_cuts(const BpeDefinition& definition) {
  // A mark that is no token could fuse with unknown neighbours; a piece that is looked up whole must stay whole; a
  // merge of byte tokens joins characters that its text does not show.
  bool possible = !byte_level_ && !ignore_merges_ && find(WordCuts::mark) >= 0;
  for (const auto& [left, right] : definition.merges) {
    cuts_.forbid_inside(left + right);
    possible = possible && !(left.starts_with("<0x") || right.starts_with("<0x"));
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
    const auto& whole = byte_level_ ? raw_ids_ : ids_;
    if (const auto it = whole.find(piece); it != whole.end()) {
      ids.push_back(it->second);
      return;
    }
  }
  thread_local std::vector<std::int32_t> symbols;
  symbols.clear();
  initial_symbols(piece, symbols);
  if (symbols.size() <= short_piece) {
    merge_short(symbols);
  } else {
    merge_long(symbols);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

void BpeModel::initial_symbols(std::string_view piece, std::vector<std::int32_t>& ids) const {
  bool unknown_pending = false;
  for (std::size_t pos = 0; pos < piece.size();) {
    const std::size_t begin = pos;
    std::int32_t id = -1;
    if (byte_level_) {
      id = byte_ids_[static_cast<unsigned char>(piece[pos++])];
    } else {
      unicode::next_code_point(piece, pos);
      id = find(piece.substr(begin, pos - begin));
    }
    if (id < 0) {
      append_unknown(piece.substr(begin, pos - begin), unknown_pending, ids);
    } else {
      ids.push_back(id);
      unknown_pending = false;
    }
  }
}

void BpeModel::append_unknown(std::string_view character, bool& pending, std::vector<std::int32_t>& ids) const {
  const auto id_of = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
  if (byte_fallback_ && std::all_of(character.begin(), character.end(), [&](char c) { return id_of(c) >= 0; })) {
    for (const char c : character) ids.push_back(id_of(c));
    pending = false;
    return;
  }
  if (unk_id_ < 0) return;  // the compatible program drops such characters
  if (pending && fuse_unk_) return;
  ids.push_back(unk_id_);
  pending = true;
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
