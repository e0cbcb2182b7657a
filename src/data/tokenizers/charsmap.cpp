// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/charsmap.hpp"

#include <bit>
#include <cstring>

#include "core/error.hpp"
#include "data/tokenizers/unicode.hpp"

namespace dstrain {
namespace {

// Parts of a Darts unit (Yata, "Darts-clone", 32 bits).
constexpr std::uint32_t label_of(std::uint32_t unit) { return unit & ((1U << 31) | 0xFFU); }
constexpr std::uint32_t offset_of(std::uint32_t unit) { return (unit >> 10) << ((unit & (1U << 9)) >> 6); }
constexpr bool has_leaf(std::uint32_t unit) { return ((unit >> 8) & 1U) == 1; }
constexpr std::uint32_t value_of(std::uint32_t unit) { return unit & ((1U << 31) - 1); }

constexpr std::size_t max_replacement_bytes = 1024;

}  // namespace

Charsmap::Charsmap(std::string_view bytes, const std::string& where) {
  static_assert(std::endian::native == std::endian::little, "the file is little endian");
  std::uint32_t trie_bytes = 0;
  if (bytes.size() >= sizeof trie_bytes) std::memcpy(&trie_bytes, bytes.data(), sizeof trie_bytes);
  if (bytes.size() <= sizeof trie_bytes || trie_bytes > bytes.size() - sizeof trie_bytes ||
      trie_bytes % sizeof(std::uint32_t) != 0 || trie_bytes == 0) {
    throw ConfigError("the precompiled charsmap is damaged: its sizes do not fit together", where);
  }
  units_.resize(trie_bytes / sizeof(std::uint32_t));
  std::memcpy(units_.data(), bytes.data() + sizeof trie_bytes, trie_bytes);
  replacements_ = bytes.substr(sizeof trie_bytes + trie_bytes);
}

template <typename Found>
void Charsmap::walk(std::string_view text, const Found& found) const {
  std::size_t node = offset_of(units_[0]);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    if (byte == 0 || node >= units_.size() || label_of(units_[node]) != byte) return;
    const std::uint32_t unit = units_[node];
    node ^= offset_of(unit);
    if (node >= units_.size()) return;
    if (has_leaf(unit) && !found(i + 1, value_of(units_[node]))) return;
  }
}

std::string_view Charsmap::replacement(std::uint32_t offset) const {
  if (offset >= replacements_.size()) return {};
  // The longest in Unicode's own tables has 33 bytes; without a bound a small damaged file makes texts of any size.
  const std::string_view rest = std::string_view(replacements_).substr(offset, max_replacement_bytes);
  return rest.substr(0, rest.find('\0'));
}

std::optional<std::string_view> Charsmap::longest(std::string_view text, std::size_t& length) const {
  std::optional<std::uint32_t> value;
  walk(text, [&](std::size_t end, std::uint32_t v) {
    length = end;
    value = v;
    return true;
  });
  return value ? std::optional(replacement(*value)) : std::nullopt;
}

std::optional<std::string_view> Charsmap::shortest(std::string_view text) const {
  std::optional<std::uint32_t> value;
  walk(text, [&](std::size_t, std::uint32_t v) {
    value = v;
    return false;
  });
  return value ? std::optional(replacement(*value)) : std::nullopt;
}

std::string Charsmap::normalize_graphemes(std::string_view text) const {
  constexpr std::size_t max_grapheme = 6;
  std::string out;
  out.reserve(text.size());
  std::size_t begin = 0;
  for (const std::size_t end : unicode::grapheme_ends(text)) {
    const std::string_view grapheme = text.substr(begin, end - begin);
    begin = end;
    if (grapheme.size() < max_grapheme) {
      if (const auto rule = shortest(grapheme)) {
        out += *rule;
        continue;
      }
    }
    for (std::size_t pos = 0; pos < grapheme.size();) {
      const std::size_t at = pos;
      unicode::next_code_point(grapheme, pos);
      const std::string_view character = grapheme.substr(at, pos - at);
      out += shortest(character).value_or(character);
    }
  }
  return unicode::is_valid_utf8(out) ? out : unicode::replace_invalid_utf8(out);
}

}  // namespace dstrain
