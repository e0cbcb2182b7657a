// SPDX-License-Identifier: Apache-2.0
/// The merges of a BPE model, as the files of each kind define them.
#include "core/error.hpp"
#include "data/tokenizers/bpe.hpp"
#include "data/tokenizers/unicode.hpp"

namespace dstrain {
namespace {

constexpr std::uint64_t max_split_work = 4'000'000'000;

using Ids = std::unordered_map<std::string_view, std::int32_t>;

Ids ids_of(const Vocabulary::Entries& vocab) {
  Ids ids;
  ids.reserve(vocab.size());
  for (const auto& [token, id] : vocab) ids.emplace(token, id);
  return ids;
}

std::int32_t find_in(const Ids& ids, std::string_view token) {
  const auto it = ids.find(token);
  return it == ids.end() ? -1 : it->second;
}

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

}  // namespace

std::vector<BpeDefinition::Merge> merges_by_name(const Vocabulary::Entries& vocab,
                                                 const std::vector<std::pair<std::string, std::string>>& merges,
                                                 std::string_view prefix, const std::string& where) {
  const Ids ids = ids_of(vocab);
  std::vector<BpeDefinition::Merge> out;
  out.reserve(merges.size());
  std::string joined;
  for (const auto& [left, right] : merges) {
    const bool has_prefix = !prefix.empty() && right.starts_with(prefix);
    joined = left;
    joined += std::string_view(right).substr(has_prefix ? prefix.size() : 0);
    const BpeDefinition::Merge merge{find_in(ids, left), find_in(ids, right), find_in(ids, joined),
                                     static_cast<std::uint32_t>(out.size())};
    if (merge.left < 0 || merge.right < 0 || merge.result < 0) {
      throw ConfigError(fmt::format("merge {} (\"{}\" + \"{}\") names a token that is not in the vocabulary",
                                    out.size(), left, right),
                        where);
    }
    out.push_back(merge);
  }
  return out;
}

std::vector<BpeDefinition::Merge> merges_by_token(const Vocabulary::Entries& tokens,
                                                  const std::vector<std::uint32_t>& ranks, const std::string& where) {
  const Ids ids = ids_of(tokens);
  std::vector<BpeDefinition::Merge> out;
  std::uint64_t work = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string_view token = tokens[i].first;
    work += static_cast<std::uint64_t>(token.size()) * token.size();
    if (work > max_split_work) throw ConfigError("its tokens are too long to be a vocabulary", where);
    for (std::size_t cut = 1; cut < token.size(); ++cut) {
      if (continues_character(token[cut])) continue;
      const std::int32_t left = find_in(ids, token.substr(0, cut));
      if (left < 0) continue;
      const std::int32_t right = find_in(ids, token.substr(cut));
      if (right >= 0) out.push_back({left, right, tokens[i].second, ranks[i]});
    }
  }
  return out;
}

std::vector<std::string> loose_characters(const Vocabulary::Entries& vocab, const Vocabulary::Entries& tokens) {
  Ids known = ids_of(vocab);
  std::vector<std::string> out;
  for (const auto& [token, id] : tokens) {
    for (std::size_t pos = 0; pos < token.size();) {
      const std::size_t begin = pos;
      unicode::next_code_point(token, pos);
      const auto character = std::string_view(token).substr(begin, pos - begin);
      if (known.emplace(character, -1).second) out.emplace_back(character);
    }
  }
  return out;
}

}  // namespace dstrain
