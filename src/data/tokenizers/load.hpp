// SPDX-License-Identifier: Apache-2.0
/// The readers behind load_tokenizer(), one per file form.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "data/tokenizer.hpp"

namespace dstrain {

/// tokenizer_config.json, special_tokens_map.json, added_tokens.json. Absent files leave the defaults.
TokenizerSettings read_tokenizer_settings(const TokenizerFiles& files);

/// What tokenizer.json holds.
struct TokenizerJson {
  std::unique_ptr<const TextModel> model;
  AddedTokens added;
  std::vector<std::string> prefix_tokens, suffix_tokens;  ///< of its post_processor
};

/// @throws ConfigError  damaged content or an unsupported component
TokenizerJson read_tokenizer_json(std::string_view text);

/// tokenizer.model (sentencepiece). `legacy` as in TokenizerSettings; `extra_tokens` get the ids behind the model's.
/// @throws ConfigError  not a sentencepiece model
std::unique_ptr<const TextModel> read_sentencepiece(std::string_view bytes, bool legacy,
                                                    std::vector<std::string> extra_tokens);

/// bos, eos, unk and pad of a sentencepiece model, where it names them.
void fill_from_sentencepiece(std::string_view bytes, TokenizerSettings& settings);

}  // namespace dstrain
