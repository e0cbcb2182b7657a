// SPDX-License-Identifier: Apache-2.0
/// Byte-pair encoding: a piece of text to ids by merging neighbours, lowest rank first.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "data/tokenizers/byte_trie.hpp"
#include "data/tokenizers/word_cuts.hpp"
#include "data/tokenizers/word_model.hpp"

namespace dstrain {

/// How a text becomes symbols, and what they merge to.
struct BpeDefinition {
  /// Two neighbours and what they become.
  struct Merge {
    std::int32_t left, right, result;
    std::uint32_t rank;  ///< lower first; equal ones leftmost first
  };

  Vocabulary::Entries vocab;
  std::vector<Merge> merges;
  bool byte_level = false;                ///< tokens are written in the byte-level alphabet; pieces come as raw bytes
  std::string unk_token;                  ///< empty: none
  std::string continuing_subword_prefix;  ///< in front of every symbol but the first of a piece, when looked up
  std::string end_of_word_suffix;         ///< behind the last one
  std::vector<std::int32_t> whole;        ///< user-defined tokens: found before anything else, never merged
  /// Characters that are no tokens but parts of some: number i has the id vocab.size() + i in `merges`. What does not
  /// merge is unknown.
  std::vector<std::string> loose;
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false;
};

/// Merges by name, lowest rank first, as tokenizer.json and merges.txt list them: what two tokens become is the two
/// written together (the second without `prefix`).
/// @throws ConfigError  a merge names something that is not in the vocabulary
std::vector<BpeDefinition::Merge> merges_by_name(const Vocabulary::Entries& vocab,
                                                 const std::vector<std::pair<std::string, std::string>>& merges,
                                                 std::string_view prefix, const std::string& where);

/// The characters of `tokens` that are not in `vocab`, each once: what BpeDefinition::loose wants.
std::vector<std::string> loose_characters(const Vocabulary::Entries& vocab, const Vocabulary::Entries& tokens);

/// Every way to make a token out of two others, ranked by the token: how sentencepiece and tiktoken define merging.
/// @param ranks  per entry of `tokens`; equal ranks merge leftmost first
/// @throws ConfigError  the tokens are so long that looking for their parts would take minutes
std::vector<BpeDefinition::Merge> merges_by_token(const Vocabulary::Entries& tokens,
                                                  const std::vector<std::uint32_t>& ranks, const std::string& where);

/// Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units", ACL 2016, in the variants
/// of Hugging Face's tokenizers, sentencepiece and tiktoken: lowest rank first, leftmost among equals.
/// A piece of n symbols takes O(n log n) at most.
class BpeModel final : public WordModel {
 public:
  /// @param where  the file, for errors
  /// @throws ConfigError  the unknown token is not in the vocabulary, or an id is out of bounds
  BpeModel(BpeDefinition definition, const std::string& where);

  void encode(std::string_view piece, std::vector<std::int32_t>& ids) const override;

 private:
  /// What two neighbours become: rank decides the order, `id` is the token of both together.
  struct Merge {
    std::uint32_t rank = no_rank;
    std::int32_t id = -1;
  };
  static constexpr std::uint32_t no_rank = 0xffffffffU;

  /// Open addressing over (left << 32 | right): two thirds of the time of encoding is spent in this lookup.
  class MergeTable {
   public:
    void reserve(std::size_t count);
    void insert(std::int32_t left, std::int32_t right, Merge merge);
    [[nodiscard]] Merge find(std::int32_t left, std::int32_t right) const noexcept;

   private:
    struct Slot {
      std::uint64_t key = ~std::uint64_t{0};
      Merge merge;
    };
    std::vector<Slot> slots_;
    std::size_t mask_ = 0;
  };

  /// A run of unknown characters that has not become a token yet.
  struct Unknown {
    bool pending = false;
  };

  void read_symbols(const BpeDefinition& definition);
  void read_cuts(const BpeDefinition& definition);
  void encode_part(std::string_view part, std::vector<std::int32_t>& ids) const;
  void encode_uncached(std::string_view piece, std::vector<std::int32_t>& ids) const;
  void byte_symbols(std::string_view piece, std::vector<std::int32_t>& ids) const;
  void character_symbols(std::string_view piece, std::vector<std::int32_t>& ids) const;
  [[nodiscard]] std::int32_t symbol_of(std::string_view character, bool first, bool last, std::string& scratch) const;
  void append_unknown(std::string_view character, Unknown& unknown, std::vector<std::int32_t>& ids) const;
  void settle_loose(std::vector<std::int32_t>& ids) const;
  void flush_unknown(Unknown& unknown, std::vector<std::int32_t>& ids) const;
  void merge_short(std::vector<std::int32_t>& ids) const;
  void merge_long(std::vector<std::int32_t>& ids) const;

  std::vector<std::string> raw_tokens_;  ///< byte level and ignore_merges: tokens as raw bytes
  std::unordered_map<std::string_view, std::int32_t> raw_ids_;
  std::array<std::int32_t, 256> byte_ids_{};  ///< byte level: the byte's own token; byte_fallback: <0xNN>; -1: none
  ByteTrie whole_;
  MergeTable merges_;
  WordCuts cuts_;
  std::vector<std::string> loose_;                                ///< by id, from the end of the vocabulary on
  std::unordered_map<std::string_view, std::int32_t> loose_ids_;  ///< views into loose_
  std::string prefix_, suffix_;
  std::int32_t unk_id_ = -1;
  bool fuse_unk_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
  bool byte_level_ = false;
  std::uint64_t identity_;  ///< tells the caches of two models apart
};

}  // namespace dstrain
