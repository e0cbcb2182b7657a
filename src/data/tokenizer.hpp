// SPDX-License-Identifier: Apache-2.0
/// Text to token ids and back, as the model's own tokenizer files say.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizers/added_tokens.hpp"

namespace dstrain {

class TextModel;

/// A model folder's tokenizer files: name -> bytes. Rank 0 reads them; nothing else touches a disk.
using TokenizerFiles = std::map<std::string, std::string>;

/// Reads what a tokenizer needs from a model folder (tokenizer.json, tokenizer.model, *.tiktoken, vocab.json,
/// merges.txt, tokenizer_config.json, special_tokens_map.json, added_tokens.json, tokenization_chatglm.py; those that
/// are there).
///
/// Local. @throws IoError  the folder holds no tokenizer of a known form, or a file is larger than 256 MiB
TokenizerFiles read_tokenizer_files(const std::filesystem::path& folder);

/// What the config keys of the same name say.
struct TokenizerOptions {
  bool use_fast_tokenizer = true;                    ///< tokenizer.json first; false: tokenizer.model first
  bool split_special_tokens = false;                 ///< special tokens inside a text are ordinary text
  std::vector<std::string> add_tokens = {};          ///< tokens that the files do not have
  std::vector<std::string> add_special_tokens = {};  ///< the same, as special tokens
};

/// What tokenizer_config.json and its neighbours say about special tokens.
struct TokenizerSettings {
  std::string tokenizer_class;  ///< or, where only `auto_map` names one, that
  std::optional<std::string> bos_token, eos_token, unk_token, pad_token;
  bool add_bos_token = false;
  bool add_eos_token = false;
  bool legacy = true;  ///< sentencepiece: every piece after an added token gets its own leading blank
  bool split_special_tokens = false;
  bool added_as_they_stand = false;  ///< slow classes look for added tokens in the raw text only
  std::optional<bool> add_prefix_space;
  bool has_config = false;                                ///< tokenizer_config.json was there
  std::vector<AddedToken> added;                          ///< id -1: the vocabulary's, or a new one
  std::vector<std::int32_t> prefix_ids, suffix_ids;       ///< what encode(add_special) puts around a text ...
  std::vector<std::string> prefix_tokens, suffix_tokens;  ///< ... further out; those that are not known are left out
};

/// Follows transformers' PreTrainedTokenizerFast (tokenizer.json) and PreTrainedTokenizer (tokenizer.model), 4.52, and
/// for remote code (ChatGLM, Baichuan, Qwen) the class that tokenizer_config.json names.
///
/// encode and decode are const and may run in many threads; the other functions may not run beside them.
class Tokenizer {
 public:
  /// `model` is shared by copies: copying a tokenizer is cheap.
  /// @param added  the tokenizer file's own added tokens, each with its id; `settings.added` follow them
  Tokenizer(std::shared_ptr<const TextModel> model, const std::vector<AddedToken>& added, TokenizerSettings settings);

  /// Token ids of `text`. Added tokens in it become their ids. Ill-formed UTF-8 is replaced by U+FFFD first.
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text, bool add_special = false) const;
  /// The same, appended.
  void encode(std::string_view text, std::vector<std::int32_t>& ids, bool add_special = false) const;
  /// Text of `ids`, exact: blanks before punctuation stay (transformers' clean_up_tokenization_spaces is not applied).
  /// Ids that are not in the vocabulary give nothing.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids, bool skip_special = false) const;

  [[nodiscard]] std::optional<std::int32_t> token_to_id(std::string_view token) const;
  [[nodiscard]] std::string id_to_token(std::int32_t id) const;
  /// Highest id + 1, added tokens included.
  [[nodiscard]] std::int32_t vocab_size() const;

  [[nodiscard]] const std::optional<std::string>& bos_token() const noexcept { return settings_.bos_token; }
  [[nodiscard]] const std::optional<std::string>& eos_token() const noexcept { return settings_.eos_token; }
  [[nodiscard]] const std::optional<std::string>& pad_token() const noexcept { return settings_.pad_token; }
  [[nodiscard]] std::optional<std::int32_t> bos_id() const { return id_of(settings_.bos_token); }
  [[nodiscard]] std::optional<std::int32_t> eos_id() const { return id_of(settings_.eos_token); }
  [[nodiscard]] std::optional<std::int32_t> pad_id() const { return id_of(settings_.pad_token); }
  [[nodiscard]] std::optional<std::int32_t> unk_id() const { return id_of(settings_.unk_token); }
  [[nodiscard]] bool add_bos_token() const noexcept { return settings_.add_bos_token; }

  /// transformers' add_tokens(tokens, special_tokens=special): each is found in a text before the model sees it. Those
  /// in the vocabulary keep their ids, others get the next free ones. Returns how many were no added tokens before.
  int add_tokens(std::span<const std::string> tokens, bool special);
  /// Makes `tokens` special tokens; those not in the vocabulary get the next free ids. Returns how many were new.
  int add_special_tokens(std::span<const std::string> tokens);
  /// Sets the end-of-sequence (padding) token, adding it where it is new. Returns how many were new.
  int set_eos_token(const std::string& token);
  int set_pad_token(const std::string& token);
  void set_split_special_tokens(bool split) noexcept { settings_.split_special_tokens = split; }

  /// Tokens that were added or made special since the files were read, by id. Local.
  [[nodiscard]] std::vector<AddedToken> changed_tokens() const;

 private:
  [[nodiscard]] std::optional<std::int32_t> id_of(const std::optional<std::string>& token) const;
  bool make_special(const std::string& token);
  void add(const AddedToken& token);
  void encode_text(std::string_view text, std::vector<std::int32_t>& ids) const;

  std::shared_ptr<const TextModel> model_;
  AddedTokens added_;
  TokenizerSettings settings_;
  std::vector<std::string> changed_;  ///< since the constructor
};

/// A tokenizer from a model's files.
///
/// Local. @throws ConfigError  no usable file, damaged content, or a component that is not supported (it is named)
Tokenizer load_tokenizer(const TokenizerFiles& files, const TokenizerOptions& options = {});

}  // namespace dstrain
