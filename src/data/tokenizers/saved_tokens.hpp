// SPDX-License-Identifier: Apache-2.0
/// Tokenizer files with tokens that a run added: what is saved beside a model whose vocabulary grew.
#pragma once

#include <span>

#include "data/tokenizer.hpp"

namespace dstrain {

/// Enters `tokens` where the files list added tokens: `added_tokens` of tokenizer.json, of which all else stays as it
/// stands, and `added_tokens_decoder` of tokenizer_config.json (made where it is missing, then with the tokens of
/// added_tokens.json too). Tokens that are listed already stay as they are. Local; follows save_pretrained.
/// @throws ConfigError  a file is no JSON object
void add_saved_tokens(TokenizerFiles& files, std::span<const AddedToken> tokens);

}  // namespace dstrain
