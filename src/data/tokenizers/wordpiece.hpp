// SPDX-License-Identifier: Apache-2.0
/// WordPiece and WordLevel: words by greedy longest match, and whole words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizers/word_model.hpp"

namespace dstrain {

struct WordPieceOptions {
  std::string unk_token = "[UNK]";
  std::string continuing_subword_prefix = "##";
  std::int64_t max_input_chars_per_word = 100;  ///< a longer word is unknown
};

/// Wu et al., "Google's Neural Machine Translation System", arXiv:1609.08144, as BERT and Hugging Face's tokenizers do
/// it: the longest token from the left, then the longest with the prefix, and so on; a word that does not come out
/// whole is one unknown token.
class WordPieceModel final : public WordModel {
 public:
  WordPieceModel(Vocabulary vocabulary, WordPieceOptions options);
  void encode(std::string_view piece, std::vector<std::int32_t>& ids) const override;

 private:
  [[nodiscard]] bool encode_known(std::string_view piece, std::vector<std::int32_t>& ids) const;

  WordPieceOptions options_;
  std::size_t longest_token_ = 0;  ///< bytes
};

/// A piece is a token or unknown.
class WordLevelModel final : public WordModel {
 public:
  WordLevelModel(Vocabulary vocabulary, std::string unk_token)
      : WordModel(std::move(vocabulary)), unk_token_(std::move(unk_token)) {}
  void encode(std::string_view piece, std::vector<std::int32_t>& ids) const override;

 private:
  std::string unk_token_;
};

}  // namespace dstrain
