// SPDX-License-Identifier: Apache-2.0
/// Unigram language model: the segmentation of a piece with the highest sum of scores.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizers/byte_trie.hpp"
#include "data/tokenizers/word_model.hpp"

namespace dstrain {

struct UnigramDefinition {
  std::vector<std::pair<std::string, double>> pieces;  ///< in the order of their ids
  std::int32_t unk_id = -1;                            ///< -1: none
  bool byte_fallback = false;
  bool fuse_unk = true;  ///< a run of unknown characters is one token
  /// Sentencepiece keeps sums in float, Hugging Face in double: near ties end differently.
  bool single_precision = false;
  /// What an unknown character costs below the lowest score of a piece that counts (all, where empty).
  std::vector<bool> counts_for_unknown;
  std::vector<bool> searched;      ///< false: never found in a text (control, unused); empty: all are
  std::vector<bool> user_defined;  ///< always preferred; empty: none
};

/// Kudo, "Subword Regularization", ACL 2018; Viterbi as sentencepiece's EncodeOptimized and Hugging Face's Unigram do
/// it.
class UnigramModel final : public WordModel {
 public:
  /// @throws ConfigError  no pieces, an unk_id that is none of them, or a score that is not finite
  UnigramModel(UnigramDefinition definition, const std::string& where);

  void encode(std::string_view piece, std::vector<std::int32_t>& ids) const override;

 private:
  struct Node {
    double score = 0;
    std::int32_t id = -1;
    std::int32_t start = -1;  ///< -1: not reached
  };
  template <typename Sum>
  void viterbi(std::string_view piece, std::vector<Node>& ends) const;
  void append_unknown(std::string_view text, std::vector<std::int32_t>& ids) const;

  std::vector<double> scores_;
  std::vector<bool> user_defined_;
  ByteTrie trie_;
  std::vector<std::int32_t> byte_ids_;  ///< 256, or empty
  std::int32_t unk_id_;
  double unknown_score_ = 0;
  double highest_score_ = 0;
  bool fuse_unk_;
  bool single_precision_;
  bool lookup_fused_;
  std::uint64_t identity_;
};

}  // namespace dstrain
