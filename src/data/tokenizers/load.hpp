// SPDX-License-Identifier: Apache-2.0
/// The readers behind load_tokenizer(), one per file form.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.hpp"

namespace dstrain {

/// tokenizer_config.json, special_tokens_map.json, added_tokens.json. Absent files leave the defaults.
TokenizerSettings read_tokenizer_settings(const TokenizerFiles& files);

/// What tokenizer.json holds.
struct TokenizerJson {
  std::unique_ptr<const TextModel> model;
  std::vector<AddedToken> added;
  std::vector<std::int32_t> prefix_ids, suffix_ids;  ///< of its post_processor
};

/// @param add_prefix_space  transformers' classes set it where the pre-tokenizer is ByteLevel alone; none: the file's
/// @throws ConfigError  damaged content or an unsupported component
TokenizerJson read_tokenizer_json(std::string_view text, std::optional<bool> add_prefix_space);

/// What the class around a sentencepiece model adds to it.
struct SentencePieceFamily {
  /// Every stretch between added tokens is encoded like a whole text. False (LlamaTokenizer with `legacy: false`): only
  /// the start of the text gets a leading blank.
  bool legacy = true;
  bool add_prefix_space = true;           ///< not legacy only
  std::vector<std::string> extra_tokens;  ///< get the ids behind the model's; named by templates, never looked for
};

/// tokenizer.model of sentencepiece.
/// @throws ConfigError  not a sentencepiece model
std::unique_ptr<const TextModel> read_sentencepiece(std::string_view bytes, SentencePieceFamily family);

/// The special pieces that a sentencepiece model has.
struct SentencePieceTokens {
  std::optional<std::string> bos, eos, unk, pad;
};
SentencePieceTokens sentencepiece_tokens(std::string_view bytes);

/// A cutting rule and what stands before it.
struct ByteLevelFamily {
  std::string_view pattern;
  bool nfc = false;
  bool add_prefix_space = false;
};

/// Lines "base64 rank": tiktoken's files. Special tokens are the caller's.
/// @throws ConfigError  with the line
std::unique_ptr<const TextModel> read_tiktoken(std::string_view text, const ByteLevelFamily& family,
                                               const std::string& where);

/// vocab.json and merges.txt: byte-level BPE of GPT-2's kind.
/// @throws ConfigError  with the file and the line
std::unique_ptr<const TextModel> read_vocab_and_merges(std::string_view vocab, std::string_view merges,
                                                       const ByteLevelFamily& family);

/// A tokenizer from a tiktoken file: pattern and special tokens by file name, class and size.
/// @param name  the file's name; `tokenizer.model` is Llama 3's or GLM-4's
/// @throws ConfigError  a family that is not known: the known ones are named
Tokenizer load_tiktoken(const std::string& name, std::string_view text, TokenizerSettings settings);

/// load_tokenizer() without the tokens that the options add.
Tokenizer load_plain_tokenizer(const TokenizerFiles& files, const TokenizerOptions& options);

}  // namespace dstrain
