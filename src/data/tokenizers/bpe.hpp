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

#include "data/tokenizers/word_cuts.hpp"

namespace dstrain {

/// The `model` section of a tokenizer.json of type BPE, as read.
struct BpeDefinition {
  std::vector<std::pair<std::string, std::int32_t>> vocab;
  std::vector<std::pair<std::string, std::string>> merges;  ///< lowest rank first
  std::string unk_token;                                    ///< empty: none
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false;
  bool byte_level = false;  ///< tokens are written in the byte-level alphabet; pieces come as raw bytes
};

/// Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units", ACL 2016, in the variant
/// of Hugging Face's tokenizers: lowest rank first, leftmost among equals. Immutable; shared by threads.
class BpeModel {
 public:
  /// @param where  the file, for errors
  /// @throws ConfigError  a merge or the unknown token names something that is not in the vocabulary, or an id is out
  /// of bounds
  BpeModel(BpeDefinition definition, const std::string& where);
  BpeModel(BpeModel&&) = default;  // not copied: the maps point into tokens_

  /// Appends the ids of one piece. The result depends on the piece alone.
  void encode(std::string_view piece, std::vector<std::int32_t>& ids) const;

  /// Id of a token as the file writes it; -1 where there is none.
  [[nodiscard]] std::int32_t find(std::string_view token) const;
  /// The token as the file writes it; empty for an id that is not used.
  [[nodiscard]] std::string_view token(std::int32_t id) const;
  /// Highest id + 1.
  [[nodiscard]] std::int32_t size() const noexcept { return static_cast<std::int32_t>(tokens_.size()); }

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

  void read_vocab(const BpeDefinition& definition, const std::string& where);
  void read_merges(const BpeDefinition& definition, const std::string& where);
  void read_cuts(const BpeDefinition& definition);
  void encode_part(std::string_view part, std::vector<std::int32_t>& ids) const;
  void encode_uncached(std::string_view piece, std::vector<std::int32_t>& ids) const;
  void initial_symbols(std::string_view piece, std::vector<std::int32_t>& ids) const;
  void append_unknown(std::string_view character, bool& pending, std::vector<std::int32_t>& ids) const;
  void merge_short(std::vector<std::int32_t>& ids) const;
  void merge_long(std::vector<std::int32_t>& ids) const;

  std::vector<std::string> tokens_;
  std::unordered_map<std::string_view, std::int32_t> ids_;  ///< keys point into tokens_
  std::vector<std::string> raw_tokens_;                     ///< byte level and ignore_merges: tokens as raw bytes
  std::unordered_map<std::string_view, std::int32_t> raw_ids_;
  std::array<std::int32_t, 256> byte_ids_{};  ///< byte level: the byte's own token; byte_fallback: <0xNN>; -1: none
  MergeTable merges_;
  WordCuts cuts_;
  std::int32_t unk_id_ = -1;
  bool fuse_unk_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
  bool byte_level_ = false;
  std::uint64_t identity_;  ///< tells the caches of two models apart
};

/// Upper bound of ids in a vocabulary: what a file claims beyond it is damage, not a tokenizer.
inline constexpr std::int32_t max_vocabulary = 1 << 24;

/// The byte-level alphabet (GPT-2): the character that stands for `byte`.
char32_t byte_level_character(unsigned char byte) noexcept;
/// The byte a character of the alphabet stands for; -1 where it is none.
int byte_level_byte(char32_t character) noexcept;

}  // namespace dstrain
